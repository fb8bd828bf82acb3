# fish completion for telltale: telltale completion fish | source
function __telltale_complete
    set -l program (commandline -opc)[1]
    COMP_LINE=(commandline -cp | string collect) $program 2>/dev/null
end
complete -c telltale -a "(__telltale_complete)"
