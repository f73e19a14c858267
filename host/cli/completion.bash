# bash completion of clquant. It asks the command itself, by --help, so that it knows what that knows.

# Folders, and files with one of the endings; with no ending nothing, and readline completes all files.
_clquant_files() { # WORD ENDING...
    local word=$1 ending
    shift
    [ $# -gt 0 ] || return
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(
        compgen -d -- "$word"
        for ending in "$@"; do
            compgen -f -X "!*.$ending" -- "$word"
        done
    )
}

# What may stand behind an option, by the name that --help gives it: one of some words, or a file.
_clquant_value() { # WORD NAME
    local word=$1 name=$2
    if [[ $name =~ ^[a-z0-9_]+(\|[a-z0-9_]+)+$ ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${name//|/ }" -- "$word")
    elif [[ $name =~ \.([a-z]+)$ ]]; then
        _clquant_files "$word" "${BASH_REMATCH[1]}"
    fi
}

_clquant() {
    local program=${1/#\~/$HOME} word=$2 option=$3 help words name endings
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        words=$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\)  *[^ ].*/\1/p')
        mapfile -t COMPREPLY < <(compgen -W "$words --help --version" -- "$word")
        return
    fi
    help=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null) || return
    # bash takes the = of --option=value for a word.
    if [ "$word" = = ]; then
        word=
    elif [ "$option" = = ]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    if [[ $word == -* ]]; then
        words=$(sed -n 's/^ \{2,6\}\(-., \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p' <<<"$help")
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        return
    fi
    if [[ $option =~ ^--[a-z0-9-]+$ ]]; then
        name=$(sed -n "s/^ \{2,6\}\(-., \)\{0,1\}$option=\([^ ]*\).*/\2/p" <<<"$help" | head -n 1)
    elif [[ $option =~ ^-[a-zA-Z]$ ]]; then
        name=$(sed -n "s/^  $option, --[a-z0-9-]*=\([^ ]*\).*/\1/p" <<<"$help" | head -n 1)
    fi
    if [ -n "$name" ]; then
        _clquant_value "$word" "$name"
    else # arguments: files of the kinds that the usage names
        mapfile -t endings < <(sed '/^$/q' <<<"$help" | grep -o '[A-Z]\.[a-z]\{1,\}' | cut -d . -f 2 | sort -u)
        _clquant_files "$word" "${endings[@]}"
        if [[ $help =~ RECIPE && $word != */* ]]; then # those that came with the command, by name
            words=$(cd "${BASH_SOURCE[0]%/bash-completion/*}/clquant/recipes" 2>/dev/null && printf '%s ' *.json)
            mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "${words//.json/}" -- "$word")
        fi
    fi
}
complete -o default -F _clquant clquant
