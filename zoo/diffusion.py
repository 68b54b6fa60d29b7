from .recipe import Recipe


def recipes() -> list[Recipe]:
    return []
