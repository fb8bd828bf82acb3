# bash completion for telltale: source <(telltale completion bash)
_telltale() {
  local IFS=$'\n'
  COMPREPLY=($(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT "$1" 2>/dev/null))
}
complete -o default -F _telltale telltale
