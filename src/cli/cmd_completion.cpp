#include <map>

#include "cli/commands.hpp"
#include "cli/help.hpp"
#include "cli/values.hpp"
#include "quern/error.hpp"

namespace quern::cli {
namespace {

/// In single quotes for a shell; a quote in the text becomes a typographic one.
std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos;) text.replace(at, 1, "\u2019");
  return fmt::format("'{}'", text);
}

/// Those below commands too.
std::vector<const CLI::App*> all_commands(const CLI::App& app) {
  std::vector<const CLI::App*> all;
  for (const CLI::App* command : commands_of(app)) {
    all.push_back(command);
    const auto below = all_commands(*command);
    all.insert(all.end(), below.begin(), below.end());
  }
  return all;
}

std::string names(const CLI::App& app) {
  std::vector<std::string> list;
  for (const CLI::App* command : commands_of(app)) list.push_back(command->get_name());
  return fmt::format("{}", fmt::join(list, " "));
}

std::string flags(const CLI::App& command) {
  std::vector<std::string> list;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) list.push_back("--" + name);
  return fmt::format("{}", fmt::join(list, " "));
}

/// What may follow a command that is no flag: the commands below it, or the names its first argument can be.
std::string arguments(const CLI::App& command) {
  std::string words = names(command);
  for (const CLI::Option* option : command.get_options())
    if (option->get_positional())
      if (const auto values = values_of(*option))
        words += (words.empty() ? "" : " ") + fmt::format("{}", fmt::join(values->names, " "));
  return words;
}

/// The values of all flags that have names for them, by the flag.
std::map<std::string, std::string> flag_values(const CLI::App& app) {
  std::map<std::string, std::string> all;
  for (const CLI::App* command : all_commands(app))
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_positional()) continue;
      if (const auto values = values_of(*option); values && !values->names.empty())
        all["--" + option->get_lnames().front()] = fmt::format("{}", fmt::join(values->names, " "));
    }
  return all;
}

std::string bash(const CLI::App& app) {
  std::string cases, values;
  for (const CLI::App* command : all_commands(app))
    cases += fmt::format("      {}) flags={} words={} ;;\n", quoted(command_path(*command)),
                         quoted(flags(*command)), quoted(arguments(*command)));
  for (const auto& [flag, words] : flag_values(app))
    values += fmt::format("    {}) values={} ;;\n", flag, quoted(words));
  return fmt::format(R"(# For bash: source <(quern completion bash)
_quern() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} flag=${{COMP_WORDS[COMP_CWORD-1]}} flags= words= values= command
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W {} -- "$word")
    return
  fi
  # --flag=value comes as three words, or as two while there is no value.
  if [[ $word == = ]]; then
    word=
  elif [[ $flag == = ]]; then
    flag=${{COMP_WORDS[COMP_CWORD-2]}}
  fi
  case $flag in
{}  esac
  for command in "${{COMP_WORDS[1]}}" "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}"; do
    case $command in
{}    esac
  done
  if [[ $values ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$word"; [[ $flag == --model || $flag == --data ]] && compgen -f -- "$word")
  elif [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
  else
    mapfile -t COMPREPLY < <([[ $flag == -* ]] || compgen -W "$words" -- "$word"; compgen -f -- "$word")
  fi
}}
complete -o filenames -F _quern quern
)",
                     quoted(names(app)), values, cases);
}

std::string zsh(const CLI::App& app) {
  std::string list, cases, values;
  for (const CLI::App* command : commands_of(app))
    list += fmt::format("    {}\n", quoted(command->get_name() + ":" + command->get_description()));
  for (const CLI::App* command : all_commands(app))
    cases += fmt::format("      {}) flags=({}) arguments=({}) ;;\n", quoted(command_path(*command)),
                         flags(*command), arguments(*command));
  for (const auto& [flag, words] : flag_values(app))
    values += fmt::format("    {}) values=({}) ;;\n", flag, words);
  return fmt::format(R"(#compdef quern
# For zsh: save this as _quern in a folder of $fpath, or: source <(quern completion zsh)
_quern() {{
  local -a commands flags arguments values
  local command flag=$words[CURRENT-1]
  commands=(
{}  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  if [[ $words[CURRENT] == --*=* ]]; then
    flag=${{words[CURRENT]%%=*}}
    compset -P '*='
  fi
  case $flag in
{}  esac
  for command in "$words[2]" "$words[2] $words[3]"; do
    case $command in
{}    esac
  done
  if (($#values)); then
    compadd -- $values
    [[ $flag == --model || $flag == --data ]] && _files
  elif [[ $words[CURRENT] == -* ]]; then
    compadd -- $flags
  else
    [[ $flag == -* ]] || compadd -- $arguments
    _files
  fi
}}
(( $+functions[compdef] )) && compdef _quern quern
)",
                     list, values, cases);
}

/// What fish asks before it offers something after a command.
std::string fish_condition(const CLI::App& command) {
  if (command.get_parent()->get_parent() == nullptr)
    return fmt::format("__fish_seen_subcommand_from {}", command.get_name());
  return fmt::format("__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}",
                     command.get_parent()->get_name(), command.get_name());
}

std::string fish(const CLI::App& app) {
  std::string text = "# For fish: quern completion fish | source\n";
  for (const CLI::App* command : commands_of(app))
    text += fmt::format("complete -c quern -n __fish_use_subcommand -f -a {} -d {}\n", command->get_name(),
                        quoted(command->get_description()));
  for (const CLI::App* command : all_commands(app)) {
    const std::string condition = quoted(fish_condition(*command));
    if (const std::string words = arguments(*command); !words.empty())
      text += fmt::format("complete -c quern -n {} -a {}\n", condition, quoted(words));
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames()) {
        std::string takes;
        if (takes_value(*option)) takes = " -r";
        if (const auto values = values_of(*option))
          takes = fmt::format(" {} -a {}", values->others.empty() ? "-x" : "-r",
                              quoted(fmt::format("{}", fmt::join(values->names, " "))));
        text += fmt::format("complete -c quern -n {} -l {}{} -d {}\n", condition, name, takes,
                            quoted(option->get_description()));
      }
  }
  return text;
}

}  // namespace

void add_completion(CLI::App& app, int& status) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("completion", "Print what makes a shell complete commands, flags and values");
  command->add_option("shell", *shell, "bash, zsh or fish")->required();
  command->callback([shell, &app, &status] {
    fmt::print("{}", *shell == "bash" ? bash(app) : *shell == "zsh" ? zsh(app) : fish(app));
    status = 0;
  });
}

}  // namespace quern::cli
