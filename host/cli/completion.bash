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

# The networks that the end of a --help lists.
_clquant_networks() { # WORD HELP
    local names
    names=$(sed -n '/^Networks:$/,$s/^  \([a-z0-9_]\{1,\}\)  .*/\1/p' <<<"$2")
    mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "$names" -- "$1")
}

# What may stand behind an option, by the name that --help gives it: one of some words, or a file.
_clquant_value() { # WORD NAME OPTION HELP
    local word=$1 name=$2 option=$3 help=$4
    if [[ $option == --network ]]; then
        _clquant_networks "$word" "$help"
    elif [[ $name == DEVICE ]]; then
        mapfile -t COMPREPLY < <(compgen -W "cpu gpu" -- "$word")
    elif [[ $option == --data || $option == -D ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$word"; compgen -f -X '!*.@(csv|tsv|npy)' -- "$word"; compgen -W synthetic -- "$word")
    elif [[ $name =~ ^[a-z0-9_]+(\|[a-z0-9_]+)+$ ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${name//|/ }" -- "$word")
    elif [[ $name =~ \.([a-z]+)$ ]]; then
        _clquant_files "$word" "${BASH_REMATCH[1]}"
    fi
}

_clquant() {
    local program=${1/#\~/$HOME} word=$2 option=$3 help words name endings
    COMPREPLY=()
    if ((COMP_CWORD == 1)) || { ((COMP_CWORD == 2)) && [ "${COMP_WORDS[1]}" = help ]; }; then
        words=$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\)  *[^ ].*/\1/p')
        ((COMP_CWORD == 1)) && words+=" help --help --version"
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        return
    fi
    words=${COMP_WORDS[1]}
    [[ $words == bench && " ${COMP_WORDS[*]:2} " == *" --train "* ]] && words+=" --train"
    # shellcheck disable=SC2086
    help=$("$program" $words --help 2>/dev/null) || return
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
        _clquant_value "$word" "$name" "$option" "$help"
    else # arguments: files of the kinds that the usage names
        mapfile -t endings < <(sed '/^$/q' <<<"$help" | grep -o '[A-Z]\.[a-z]\{1,\}' | cut -d . -f 2 | sort -u)
        _clquant_files "$word" "${endings[@]}"
        if [[ $words == *" --train" ]]; then
            _clquant_networks "$word" "$help"
        fi
        if [[ $help =~ RECIPE && $word != */* ]]; then # those that came with the command, by name
            words=$(cd "${BASH_SOURCE[0]%/bash-completion/*}/clquant/recipes" 2>/dev/null && printf '%s ' *.json)
            mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W "${words//.json/}" -- "$word")
        fi
    fi
}
complete -o default -F _clquant clquant
