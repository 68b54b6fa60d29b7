from .program import Program


def normalise(program: Program) -> Program:
    return program.verify()
