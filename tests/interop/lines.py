"""Counts the lines of code of an example's worker and of its watch: all but blank lines, comments, documentation and imports.

Used by recipes.py. A line that only closes a bracket counts. The work itself, counting words, is counted apart: what is left
is what any worker has to have. In Go and Java the scheme of the address and the token are in a file of their own, which does
not count.
"""

import re

# The files of each worker, and where its work begins.
FILES = {
    "python": (["worker.py"], "async def count_words("),
    "node": (["worker.mjs", "longrun.mjs"], "async function countWords("),
    "go": (["worker/main.go"], "func countWords("),
    "java": (["src/main/java/example/Worker.java", "src/main/java/example/Connection.java"], "private static Payload countWords("),
}
# The file of each client, and where its watch begins.
WATCHES = {
    "python": ("client.py", "def watch("),
    "node": ("client.mjs", "async function* watch("),
    "go": ("client/main.go", "func (c client) watch("),
    "java": ("src/main/java/example/Client.java", "static void watch("),
}
COMMENT = re.compile(r'\s*(//|#|/\*\*.*\*/$|"""[^"]*"""$)')
IMPORT = re.compile(r"\s*(import|from|package)\b")


def code(text):
    """The lines of code."""
    text = re.sub(r"(?ms)^import \(.*?^\)$", "", text)  # Go's
    lines = text.splitlines()
    return [line for line in lines if line.strip() and not COMMENT.match(line) and not IMPORT.match(line)]


def block(lines, begins):
    """How many of these lines are the block that begins so, to its end."""
    start = next(at for at, line in enumerate(lines) if line.lstrip().startswith(begins))
    indent = len(lines[start]) - len(lines[start].lstrip())
    after = (at for at in range(start + 1, len(lines)) if len(lines[at]) - len(lines[at].lstrip()) <= indent)
    end = next(after)
    return end - start + (lines[end].strip() == "}")


def count(example, language):
    """The lines of the worker in the directory `example` without its work, and those of the work."""
    files, begins = FILES[language]
    lines = [line for file in files for line in code((example / file).read_text())]
    of_work = block(lines, begins)
    return len(lines) - of_work, of_work


def count_watch(example, language):
    """The lines of the watch in the directory `example`."""
    file, begins = WATCHES[language]
    return block(code((example / file).read_text()), begins)
