"""What eventq is a guest in, the program and the machine: logging, signals, forks, clock."""
