# SPDX-License-Identifier: MIT
"""What the checks share: the list of the project's files, and reporting."""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def files(*endings, under=""):
    """Paths from the top of the tree, sorted; new files that git does not
    know yet are among them, what it ignores is not."""
    git = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", under or "."],
        cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        universal_newlines=True)
    if git.returncode == 0:
        paths = set(git.stdout.splitlines())
    else:       # no git, or not a clone: an unpacked archive
        paths = set()
        for where, dirs, names in os.walk(os.path.join(TOP, under)):
            dirs[:] = [d for d in dirs if not d.startswith("build")
                       and d not in (".git", "__pycache__")]
            paths |= {os.path.relpath(os.path.join(where, n), TOP)
                      for n in names}
    return sorted(p for p in paths if os.path.isfile(os.path.join(TOP, p))
                  and (not endings or p.endswith(endings)))


def read(path):
    with open(os.path.join(TOP, path), encoding="utf-8",
              errors="replace") as f:
        return f.read()


def report(findings):
    """Prints them and gives the exit code."""
    for finding in findings:
        print(finding)
    return 1 if findings else 0


def quit_with(findings):
    sys.exit(report(findings))
