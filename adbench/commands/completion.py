"""`adbench completion SHELL`: a script that lets a shell complete what is typed after adbench."""

from __future__ import annotations

import contextlib

from adbench.commands.arguments import Parser

_ASK = "--words"
"""How the scripts ask: the words follow, up to the one under the cursor."""

_BASH = """\
# Completion of adbench for bash. For good, in ~/.bashrc:  eval "$(adbench completion bash)"
_adbench() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" completion --words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _adbench adbench
"""

_ZSH = """\
#compdef adbench
# Completion of adbench for zsh. For good, in ~/.zshrc after compinit:
#   eval "$(adbench completion zsh)"
_adbench() {
    local -a found
    found=(${(f)"$("${words[1]}" completion --words "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#found} )); then compadd -a found; else _files; fi
}
if [[ ${funcstack[1]-} == _adbench ]]; then _adbench "$@"; else compdef _adbench adbench; fi
"""

_FISH = """\
# Completion of adbench for fish. For good:
#   adbench completion fish > ~/.config/fish/completions/adbench.fish
function __adbench_candidates
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    set -l program $before[1]
    set -e before[1]
    set -l found ($program completion --words $before "$current" 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c adbench -f -a '(__adbench_candidates)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def main(arguments: list[str]) -> int:
    """Print a shell's script, or what it asks for; 0."""
    if arguments[:1] == [_ASK]:
        from adbench.completion import candidates

        # Whatever is broken, a press of the tab key is no place to say it.
        with contextlib.suppress(Exception):
            print("\n".join(candidates(arguments[1:])))
        return 0
    parser = Parser(
        "completion",
        "Print a script that lets a shell complete verbs, options, settings and the names of\n"
        "environments, presets, sources and loggers, other packages' too.",
        examples=(
            'eval "$(adbench completion bash)"       in ~/.bashrc',
            'eval "$(adbench completion zsh)"        in ~/.zshrc, after compinit',
            "adbench completion fish > ~/.config/fish/completions/adbench.fish",
        ),
    )
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="whose script")
    print(SCRIPTS[parser.read(arguments).shell], end="")
    return 0
