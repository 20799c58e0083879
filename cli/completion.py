"""``pytracer completion SHELL``: a script that completes command lines of pytracer. Needs no privileges."""

from __future__ import annotations

from collections.abc import Sequence

from pytracer.errors import UsageError, suggest_near
from pytracer.text import harmless

_HELP = """\
usage: pytracer completion {bash,zsh,fish}

Prints a script for this shell. It completes tracers, options and their values, processes, users, functions
and events.

  bash: source <(pytracer completion bash), or in a file of /etc/bash_completion.d
  zsh:  source <(pytracer completion zsh), after compinit
  fish: pytracer completion fish > ~/.config/fish/completions/pytracer.fish"""
_CANDIDATES_MAX = 2000  # a longer list is of no use

# Bash splits words at : and =. So the script reads the whole line, and removes what precedes the last split.
_BASH = r"""
_pytracer() {
    local line=${COMP_LINE:0:COMP_POINT} word cut
    local -a words found
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    while [[ ${#words[@]} -gt 1 && ${words[0]##*/} != pytracer ]]; do words=("${words[@]:1}"); done
    mapfile -t found < <(command pytracer completion candidates "${words[@]:1}" 2>/dev/null | cut -f1)
    word=${words[-1]}
    case ${found[0]-} in
        :files) mapfile -t COMPREPLY < <(compgen -f -- "$word"); compopt -o filenames; return ;;
        :commands) mapfile -t COMPREPLY < <(compgen -c -f -- "$word"); return ;;
    esac
    cut=${word%"${word##*[:=]}"}
    COMPREPLY=("${found[@]#"$cut"}")
    [[ ${#found[@]} -eq 1 && ${found[0]} == *[:=] ]] && compopt -o nospace
    return 0
}
complete -F _pytracer pytracer
"""
_ZSH = r"""
#compdef pytracer
_pytracer() {
    local line
    local -a found described
    found=("${(@f)$(command pytracer completion candidates "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    case ${found[1]} in
        :files*) _files; return ;;
        :commands*) _command_names -e; _files; return ;;
    esac
    for line in $found; do
        described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    _describe -V pytracer described
}
compdef _pytracer pytracer
"""
_FISH = r"""
function __pytracer_candidates
    set -l words (commandline -opc) (commandline -ct)
    set -l found (command pytracer completion candidates $words[2..-1] 2>/dev/null)
    switch "$found[1]"
        case ':files*'
            __fish_complete_path (commandline -ct)
        case ':commands*'
            __fish_complete_command
            __fish_complete_path (commandline -ct)
        case '*'
            printf '%s\n' $found
    end
end
complete -c pytracer -f -a '(__pytracer_candidates)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(words: Sequence[str]) -> int:
    """Print the script, or (called by the script) the candidates for the last word and their descriptions."""
    if words[:1] == ["candidates"]:
        return _print_candidates(words[1:])
    if words and words[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    if len(words) != 1 or words[0] not in _SCRIPTS:
        message = f"no completion for {words[0]!r}" if words else "completion needs a shell"
        raise UsageError(
            message, hint=suggest_near(words[0] if words else "", _SCRIPTS) or "pytracer completion --help"
        )
    print(_SCRIPTS[words[0]].strip())
    return 0


def _print_candidates(words: Sequence[str]) -> int:
    from pytracer.cli import main
    from pytracer.cli.candidates import candidates

    summaries = {name: text for name, (_, text) in main.COMMANDS.items()}
    for number, (word, text) in enumerate(candidates(words, summaries)):
        if number == _CANDIDATES_MAX:
            break
        # A name with a space would be several words. Some names come from the traced system.
        if word == harmless(word) and " " not in word:
            print(f"{word}\t{harmless(text)}")
    return 0
