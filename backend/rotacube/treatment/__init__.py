"""Where to treat: a grid of turned square cells over a mask, and files of it for programs and machines."""
