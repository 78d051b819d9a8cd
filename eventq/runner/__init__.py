"""Running workers: `setup.make_runner` puts a `Runner` together, which does the rest."""
