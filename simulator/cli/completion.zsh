#compdef telltale
# zsh completion for telltale, after compinit: source <(telltale completion zsh)
_telltale() {
  local -a found
  found=(${(f)"$(COMP_LINE="${(j: :)words[1,CURRENT]}" ${(Q)words[1]} 2>/dev/null)"})
  if (( $#found )); then compadd -a found; else _files; fi
}
if [ "$funcstack[1]" = _telltale ]; then _telltale; else compdef _telltale telltale; fi
