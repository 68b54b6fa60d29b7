"""``python -m oarlock_xpu.config``: how C++ programs are compiled and linked with the C++ API, which is built where it is not there yet.

g++ -std=c++17 program.cc $(python -m oarlock_xpu.config --cflags --libs) -o program
"""

from __future__ import annotations

import sys

import click

from oarlock.errors import OarlockError

from . import native


def cflags() -> list[str]:
    """What the compiler needs: no header of TVM's is among it."""
    return ["-std=c++17", f"-I{native.sources() / 'cpp' / 'include'}"]


def libs() -> list[str]:
    """What the linker needs; the program finds the library where it is now, and that finds TVM's."""
    folder = native.api()
    return [f"-L{folder}", "-loarlock", f"-Wl,-rpath,{folder}"]


@click.command()
@click.option("--cflags", "want_cflags", is_flag=True, help="Flags of the compiler.")
@click.option("--libs", "want_libs", is_flag=True, help="Flags of the linker.")
@click.option("--includes", is_flag=True, help="The folder of the headers.")
@click.option("--libraries", is_flag=True, help="The folders of liboarlock.so and of the XPU's libraries, a line each.")
@click.option("--cmake", is_flag=True, help="The folder for CMAKE_PREFIX_PATH, where find_package(Oarlock) looks.")
def main(want_cflags: bool, want_libs: bool, includes: bool, libraries: bool, cmake: bool) -> None:
    """How C++ programs are compiled and linked with Oarlock's C++ API."""
    flags = (cflags() if want_cflags else []) + (libs() if want_libs else [])
    if flags:
        click.echo(" ".join(flags))
    if includes:
        click.echo(native.sources() / "cpp" / "include")
    if libraries:
        click.echo(native.api())
        click.echo(native.libraries())
    if cmake:
        click.echo(native.sources() / "cpp" / "cmake")


if __name__ == "__main__":
    try:
        main()
    except OarlockError as error:
        sys.exit(str(error))
