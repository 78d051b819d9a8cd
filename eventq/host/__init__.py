"""What eventq is a guest in, program and machine: logging, signals, forks, clock, cores."""
