"""Memory, steps and time of a stage, told before anything of it is loaded."""
