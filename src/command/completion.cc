#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "command/tree.h"

namespace postern::command {
namespace {

/// Stands between single quotes in a shell script.
std::string quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// One verb with the words that lead to it, the program's name first.
struct Place {
  std::string path;
  const Command* command;
  std::vector<const Option*> options;  // its own, then those of the commands above it
  const Option* positional = nullptr;  // the first
};

void collect(const Command& command, const std::string& above, std::vector<const Option*> inherited,
             std::vector<Place>& places) {
  Place place{above.empty() ? command.name : above + " " + command.name, &command, {}};
  for (const Option& option : command.options) {
    if (!option.positional)
      place.options.push_back(&option);
    else if (place.positional == nullptr)
      place.positional = &option;
  }
  for (const Option* option : inherited) {
    const auto same = [&](const Option* own) { return own->names == option->names; };
    if (std::ranges::none_of(place.options, same)) place.options.push_back(option);
  }
  inherited = place.options;
  const std::string path = place.path;
  places.push_back(std::move(place));
  for (const Command& verb : command.verbs) collect(verb, path, inherited, places);
}

/// Whose names complete a value, as `postern complete-names` takes it; "" when none do.
std::string names_for(const Place& place, const Option& option) {
  const std::string& name = option.names.front();
  if (name == "--parent" || name == "--failover" || name == "--primary") return "parent";
  if (name == "--node" || name == "--down" || name == "NODE") return "node";
  if (name == "ID") return place.path.find(" alert ") != std::string::npos ? "alert" : "";
  if (name != "NAME") return "";
  for (const char* group : {"gateway", "agent", "server", "pending"})
    if (place.path.find(fmt::format(" {} ", group)) != std::string::npos) return group;
  return place.path.ends_with(" trace") ? "node" : "";
}

/// "table|json|yaml", but not "unix:PATH|https://NAME", which only says what a value looks like.
bool lists_choices(const std::string& type) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz0123456789-|";
  return type.find('|') != type.npos && type.find_first_not_of(kLetters) == type.npos;
}

/// What completes a value: "words a b", "names gateway", "files", "folders" or "nothing".
std::string kind_of(const Place& place, const Option& option) {
  if (lists_choices(option.type)) {
    std::string words = option.type;
    std::ranges::replace(words, '|', ' ');
    return "words " + words;
  }
  const std::string& name = option.names.front();
  if (option.type == "DIR") return "folders";
  if (option.type == "FILE" || name == "FILE" || name == "CSR" || name == "--config" ||
      name.ends_with("-file"))
    return "files";
  const std::string names = names_for(place, option);
  return names.empty() ? "nothing" : "names " + names;
}

/// "'postern gateway approve --parent'|...) kind='names parent' ;;", for each option that needs a
/// value and each first positional.
std::string value_cases(const std::vector<Place>& places) {
  std::string out;
  for (const Place& place : places) {
    if (place.positional != nullptr)
      out += fmt::format("    {}) kind={} ;;\n", quoted(place.path + " "),
                         quoted(kind_of(place, *place.positional)));
    for (const Option* option : place.options) {
      if (!option->takes_value || option->value_optional) continue;
      std::string patterns;
      for (const std::string& name : option->names)
        patterns += (patterns.empty() ? "" : "|") + quoted(place.path + " " + name);
      out += fmt::format("    {}) kind={} ;;\n", patterns, quoted(kind_of(place, *option)));
    }
  }
  return out;
}

std::string path_cases(const std::vector<Place>& places) {
  std::string out;
  for (const Place& place : places) out += (out.empty() ? "" : "|") + quoted(place.path);
  return out;
}

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, " "));
}

constexpr const char* kBash =
    R"script(# Completion of {program} for bash, made from what its --help is made from.

{function}_value() {{  # sets kind: what completes the value of option $2 of the verb $1
  kind=
  case "$1 $2" in
{values}  esac
  [[ -n $kind ]]
}}

# Names come from the management server, a stranger's among them: they are compared, never evaluated.
{function}_names() {{
  local name
  while IFS= read -r name; do
    [[ $name == "$2"* ]] && COMPREPLY+=("$name")
  done < <(timeout 2 {program} "${{server[@]}}" complete-names "$1" 2>/dev/null)
}}

{function}() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} path={program} option= word kind verbs= options= i
  local server=()
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${{COMP_WORDS[i]}}
    if [[ -n $option ]]; then
      [[ $word == = ]] && continue
      case $option in --server | --token-file | --group-file) server+=("$option" "$word") ;; esac
      option=
    elif [[ $word == -* ]]; then
      {function}_value "$path" "$word" && option=$word
    else
      case "$path $word" in {paths}) path+=" $word" ;; esac
    fi
  done
  [[ $current == = ]] && current=
  case $path in
{places}  esac
  if [[ -n $option ]]; then
    {function}_value "$path" "$option"
  elif [[ $current == -* ]]; then
    kind="words $options"
  elif [[ -n $verbs ]]; then
    kind="words $verbs"
  else
    {function}_value "$path" '' || kind="words $options"
  fi
  case $kind in
    words\ *) mapfile -t COMPREPLY < <(compgen -W "${{kind#words }}" -- "$current") ;;
    names\ *) {function}_names "${{kind#names }}" "$current" ;;
    files) compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    folders) compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
  esac
}}
complete -F {function} {program}
)script";

constexpr const char* kZsh = R"script(#compdef {program}
# Completion of {program} for zsh, made from what its --help is made from.

{function}_value() {{  # sets kind: what completes the value of option $2 of the verb $1
  kind=
  case "$1 $2" in
{values}  esac
  [[ -n $kind ]]
}}

{function}() {{
  local current=${{words[CURRENT]}} path_of_verb={program} option= word kind= i
  local -a server verbs options names
  for ((i = 2; i < CURRENT; i++)); do
    word=${{words[i]}}
    if [[ -n $option ]]; then
      case $option in (--server|--token-file|--group-file) server+=($option $word) ;; esac
      option=
    elif [[ $word == -*=* ]]; then
      :
    elif [[ $word == -* ]]; then
      {function}_value "$path_of_verb" "$word" && option=$word
    else
      case "$path_of_verb $word" in ({paths}) path_of_verb+=" $word" ;; esac
    fi
  done
  case $path_of_verb in
{places}  esac
  if [[ -z $option && $current == -*=* ]]; then
    option=${{current%%=*}}
    compset -P '*='
  fi
  if [[ -n $option ]]; then
    {function}_value "$path_of_verb" "$option"
  elif [[ $current == -* ]]; then
    kind=options
  elif (( ${{#verbs}} )); then
    kind=verbs
  else
    {function}_value "$path_of_verb" '' || kind=options
  fi
  case $kind in
    (options) _describe -o option options ;;
    (verbs) _describe verb verbs ;;
    (words\ *) compadd -- ${{=kind#words }} ;;
    (names\ *)
      names=(${{(f)"$(timeout 2 {program} $server complete-names ${{kind#names }} 2>/dev/null)"}})
      compadd -- $names ;;
    (files) _files ;;
    (folders) _files -/ ;;
  esac
}}

if [[ ${{funcstack[1]}} == {function} ]]; then
  {function} "$@"
else
  compdef {function} {program}
fi
)script";

std::string bash_place(const Place& place) {
  std::vector<std::string> verbs, options;
  for (const Command& verb : place.command->verbs) verbs.push_back(verb.name);
  for (const Option* option : place.options)
    options.insert(options.end(), option->names.begin(), option->names.end());
  return fmt::format("    {})\n      verbs={}\n      options={} ;;\n", quoted(place.path),
                     quoted(joined(verbs)), quoted(joined(options)));
}

/// "name:what", as _describe takes it.
std::string described(const std::string& name, std::string what) {
  for (std::size_t at = 0; (at = what.find(':', at)) != what.npos; at += 2)
    what.insert(at, 1, '\\');
  return quoted(name + ":" + what);
}

std::string zsh_place(const Place& place) {
  std::vector<std::string> verbs, options;
  for (const Command& verb : place.command->verbs) verbs.push_back(described(verb.name, verb.what));
  for (const Option* option : place.options)
    for (const std::string& name : option->names) options.push_back(described(name, option->what));
  return fmt::format("    ({})\n      verbs=({})\n      options=({}) ;;\n", quoted(place.path),
                     joined(verbs), joined(options));
}

}  // namespace

std::string completion_script(const Command& program, Shell shell) {
  std::vector<Place> places;
  collect(program, "", {}, places);
  std::string function = "_" + program.name;
  std::ranges::replace(function, '-', '_');
  std::string cases;
  for (const Place& place : places)
    cases += shell == Shell::bash ? bash_place(place) : zsh_place(place);
  return fmt::format(fmt::runtime(shell == Shell::bash ? kBash : kZsh),
                     fmt::arg("program", program.name), fmt::arg("function", function),
                     fmt::arg("values", value_cases(places)), fmt::arg("paths", path_cases(places)),
                     fmt::arg("places", cases));
}

}  // namespace postern::command
