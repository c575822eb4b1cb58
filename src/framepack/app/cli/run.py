"""Runs the command line: what comes in and goes out of it as text, and errors as one sentence each."""

import atexit
import codecs
import gc
import io
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException

from framepack.files.environment import leave_out_wrong_numbers
from framepack.files.names import from_home
from framepack.files.text import MESSAGE_MOST, printable_line, written

BROKEN_PIPE = 141
"""What shells say of a program that wrote to one that had read enough."""
HELP = " Add --help to see what there is."
LESS = (
    "use less of it, such as a lower resolution or a smaller batch; `train lora` has --base int8 and offloaded as "
    "well. A training goes on from its last save with the same command"
)


def run(command: Any) -> None:
    """Run a command and exit. A user's mistake is one sentence on stderr and exit code 2; never a traceback."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads are many times slower beside other programs
    # torch's allocator warns on stderr, through the progress display, whenever it has to free before it finds room
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # half a million objects come with the libraries: looking for garbage among them took a quarter of a short run
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
    codecs.register_error("written", written)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="written")
    leave_out_wrong_numbers(say)
    try:
        sys.exit(with_homes(command)(standalone_mode=False))
    except TyperException as error:
        said = error.format_message()
        if said.startswith("Usage:"):
            print(said)
            sys.exit(0)
        said = said.replace("Value error, ", "")  # typer's own, for an option with a few names
        if "unexpected extra argument" in said and sys.argv[1] in ("generate", "plan"):
            said += ". A prompt goes after -p, in quotes."
        say(f"{printable_line(said, MESSAGE_MOST - len(HELP))}{HELP}")
    except BrokenPipeError:  # who reads has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(BROKEN_PIPE)
    except (ValueError, OSError, FloatingPointError) as error:
        say(printable_line(sentence(error)))
    except sqlite3.OperationalError as error:
        say(printable_line(f"the queue cannot be used ({error}): check the outputs folder"))
    except RuntimeError as error:
        from framepack.memory.fallbacks import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        say(f"out of memory ({printable_line(str(error).splitlines()[0], MESSAGE_MOST - len(LESS))}): {LESS}")
    except (KeyboardInterrupt, typer.Abort):
        say("stopped")
        sys.exit(130)
    sys.exit(2)


def say(sentence: str) -> None:
    """Say it on stderr, with the program's name."""
    print(f"framepack: {sentence}", file=sys.stderr)


def with_homes(command: Any) -> Any:
    """The command, its options and arguments that are paths taking a leading ~ for the home folder, quoted or not."""

    def named(_context: object, _parameter: object, value: Path | None) -> Path | None:
        return value and Path(from_home(str(value)))

    for parameter in command.params:
        if parameter.type_descriptor.annotation is Path:
            parameter.callback = named
    for part in getattr(command, "commands", {}).values():
        with_homes(part)
    return command


def sentence(error: Exception) -> str:
    """What to tell the user of an error."""
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename:
        return f"{error.filename} is a file where a folder is needed: choose another name"
    if isinstance(error, PermissionError) and error.filename and Path(error.filename).name.startswith("."):
        return f"nothing can be written in {Path(error.filename).parent}: name a file in another folder (--output)"
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    return str(error)
