# Completion of xe for bash: installed as /usr/share/bash-completion/completions/xe.
# xe itself says what may come next, in less than half a second.

_xe_complete() {
  local line=${COMP_LINE:0:COMP_POINT} words=() word= quote= escaped= i c

  # Bash splits words at = and :, and keeps quotes: take the line apart as the shell will.
  for ((i = 0; i < ${#line}; i++)); do
    c=${line:i:1}
    if [[ $escaped ]]; then
      word+=$c escaped=
    elif [[ $c == "\\" && $quote != "'" ]]; then
      escaped=1
    elif [[ $quote ]]; then
      if [[ $c == "$quote" ]]; then quote=; else word+=$c; fi
    elif [[ $c == [\"\'] ]]; then
      quote=$c
    elif [[ $c == [[:space:]] ]]; then
      [[ $word ]] && words+=("$word")
      word=
    else
      word+=$c
    fi
  done

  # What bash replaces begins after the last = or : of the word, if it splits words there.
  local head=
  if [[ $word == *[=:]* ]]; then
    case $word in
      *=*) [[ $COMP_WORDBREAKS == *=* ]] && head=${word%"${word##*=}"} ;;
      *) [[ $COMP_WORDBREAKS == *:* ]] && head=${word%"${word##*:}"} ;;
    esac
  fi

  local candidate
  COMPREPLY=()
  while IFS= read -r candidate; do
    COMPREPLY+=("${candidate#"$head"}")
  done < <(xe --complete "${words[@]:1}" "$word" 2>/dev/null)
}

complete -o nospace -F _xe_complete xe
