#!/usr/bin/env python3
"""Counts phrases that make our texts hard to read, and fails above an allowance.

    words.py                 the count of each habit
    words.py --list          also the count of each file, and each place
    words.py PATH...         only these files and directories
    words.py --allow N       fail above N instead of ALLOWANCE

CONTRIBUTING.md says what to write instead. The patterns aim at habits, not at words: "a client
behind a load balancer", "the bucket where it lies" and "there is no such file" pass.

Not counted: in Markdown, lines that begin with `> ` and text between `<!-- words: off -->` and
`<!-- words: on -->`; anywhere, lines that quote an RFC (`RFC 959: the quoted text`).
"""

import argparse
import bisect
import collections
import re
import subprocess
import sys
from pathlib import Path

ALLOWANCE = 10
ROOT = Path(__file__).resolve().parent.parent
# Files and directories; this file has the phrases itself, and is left out.
READ = """src crates test-support tests benches docs helm ci .ci .github fuzz/src fuzz/README.md
    fuzz/Cargo.toml *.md *.toml Dockerfile justfile""".split()


def among(words):
    """A pattern for one of these patterns."""
    return rf"\b(?:{'|'.join(words.split())})\b"


SUBJECT = among("""it its that this these those there they the a an no none nothing both neither one all
    each any he you S3 so needed known possible necessary given""")
# "Where" after one of these is a place, a case or a question.
PLACE = among("""places? points? positions? locations? offset lines? buckets? director(?:y|ies) path port
    stores? networks? machines? hosts? systems? cases? situations? circumstances contexts? states? types?
    modes? moments? threads? clusters? environments? step is are was know(?:s|n|ing)? say(?:s|ing)? said
    show(?:s|ing|n)? sees? seen looks? finds? found from to out of on for about begins? starts? ends?
    ended stopped stops? stands? lies? remembers? chooses? stays? resumes? resumed continues? limits?
    exactly just right""")
# "Where" after one of these is a condition.
ADVERB = among("""only also but even except unless not or and fails? empty true false none nothing error
    refused""")
BALANCER = (
    rf"behind (?:{among('a an the one its their any that this same single shared common L4 TCP')} )*"
    + among("""(?:load.)?balancers? prox(?:y|ies) NATs? firewalls? routers? gateways? ingress VPN
        address(?:es)? PROXY""")
)
BACKEND = among("""stores? buckets? servers? hosts? operations? endpoints? reasons? services?
    leaves? left falls? fell lags?""") + " behind"

# Each pattern is searched in a text without line breaks and comment signs, in any case.
HABITS = {
    "told, tells": among("told tells? telling") + r"(?! (?:\S+ ){0,4}?apart\b)(?! (?:\S+ ){0,5}?from\b)",
    "where for if": (
        rf"(?:{ADVERB}|`\w+`|[,;:.]) where (?!to\b|and\b|\w is\b|it (?:is|was|lies|stopped|ended|began)\b)"
        rf"|(?<=[\w)`\"] )where {SUBJECT}"
        r"|(?:^|[.;:] )where [^.;:|]{3,80}, (?!and\b|or\b|which\b)"
    ),
    "behind, beside for order": among("behind beside"),
    "nobody, somebody, whoever": (
        among("nobody somebody anybody whoever whomever") + "(?:'s)?"
        r"|(?:\b(?:for|to|by|from|than|against)|;) who (?=\w+s\b|(?:may|can|has|had|did|will)\b)"
    ),
    "is no X": (
        r"(?<!there )\b(?:is|are|was|were) no (?!longer|more|less|fewer|later|earlier|newer|older|larger"
        r"|smaller|greater|better|slower|faster|different|need|way|reason)"
        r"|\b(?:is|are|was|were) none of\b|\bnone of (?:ours|his|its own|theirs)\b"
    ),
    "goes on with": (
        r"\b(?:go|goes|gone|went|going) on (?:with|at|from|where|behind|over|there)\b|\bgone on\b"
    ),
    "what is kept": (
        r"\bwhat (?:is|was|has been|had been|they|he|it|others|another \w+|a \w+)(?: had| has| have)?"
        r" kept\b"
        r"|\bkept uploads?\b"
    ),
    "so many, in the end": (
        r"\bso (?:many|much|long|few|little)\b(?! as\b)(?!.{0,60}\bthat\b)"
        r"|\bin the end\b|\bas long as that\b"
    ),
    "he, his, him": among("he his him himself she her hers herself"),
    "history": (
        among("it they this that these which who server client code test there") + r" used to\b"
        r"|\bformerly\b|\bhistorically\b|\bas reviewed\b|\bthe review(?:er|ers)?\b"
    ),
}
FINE = re.compile(rf"{BALANCER}|{BACKEND}|(?:{PLACE}|file system),? where\b", re.I)
HABITS = {name: re.compile(pattern, re.I | re.M) for name, pattern in HABITS.items()}

COMMENT = re.compile(r"^\s*(?://[/!]?|#+|\*|--|<!--)\s?(?=\S|$)")
QUOTED_RFC = re.compile(r"RFC \d+(?:[ ,(]+(?:section )?[\d.]+\)?)?: ")
OWN_LINE = re.compile(r"^(?:[-*|>] |\d+\. |#|\|)")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--allow", type=int, default=ALLOWANCE)
    parser.add_argument("paths", nargs="*")
    arguments = parser.parse_args()
    habits, files, places = collections.Counter(), collections.Counter(), []
    for path in tracked(arguments.paths or READ):
        for habit, line, phrase in found(path):
            habits[habit] += 1
            files[path] += 1
            places.append(f"{path}:{line}: {habit}: {phrase}")
    if arguments.list:
        print(*places, sep="\n")
        for path, number in files.most_common():
            print(f"{number:6} {path}")
        print()
    for habit in HABITS:
        print(f"{habits[habit]:6} {habit}")
    total = sum(habits.values())
    bad = total > arguments.allow
    hint = " (words.py --list shows them)" if bad else ""
    print(f"words: {total} in all, {arguments.allow} are allowed{hint}")
    print(f"{0 if bad else 1} passed, {1 if bad else 0} failed")
    return 1 if bad else 0


def tracked(paths):
    command = ["git", "ls-files", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for path in listed.split("\0") if path not in ("", "ci/words.py") and (ROOT / path).is_file()]


def found(path):
    """The habit, line and phrase of each match in a file."""
    try:
        lines = (ROOT / path).read_text().splitlines()
    except UnicodeDecodeError:
        return
    text, starts = joined(lines, path.endswith(".md"))
    # What is fine is blanked, so that no pattern sees it.
    text = FINE.sub(lambda fine: "·" * len(fine[0]), text)
    for habit, pattern in HABITS.items():
        for match in pattern.finditer(text):
            line = bisect.bisect_right(starts, match.end() - 1)
            around = text[max(match.start() - 30, 0):match.end() + 30].strip("\n").split("\n")
            yield habit, line, max(around, key=lambda part: match[0].strip() in part)


def joined(lines, markdown):
    """The text with its paragraphs on one line each, and where in it each line starts."""
    text, starts, length, before, off = [], [], 0, None, False
    for line in lines:
        marker = COMMENT.match(line) if not markdown else None
        words = line[marker.end():] if marker else line.strip()
        if markdown and "<!-- words: o" in line:
            off = "words: off" in line
        if off or (markdown and line.startswith("> ")) or QUOTED_RFC.search(line):
            words = ""
        kind = "comment" if marker else "prose" if markdown else "code"
        apart = kind != before or kind == "code" or not words or OWN_LINE.match(words)
        piece = ("\n" if apart else " ") + words
        starts.append(length)
        text.append(piece)
        length += len(piece)
        before = kind if words else None
    return "".join(text), starts


if __name__ == "__main__":
    sys.exit(main())
