"""What lives in L3 and what in GDDR.

program.py   what a lowered program keeps in memory, from when to when, and which kernels move how much of it
traffic.py   bytes and modelled times of the library's functions
planner.py   the choice: a heuristic, an exact search for small programs, a bound for all
config.py    the file that pins tensors and layers            place.py   the plan, written into the program
picture.py   the plan as a page
"""
