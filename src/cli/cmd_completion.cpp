#include "cli/commands.hpp"
#include "quern/error.hpp"

namespace quern::cli {
namespace {

/// In single quotes for a shell; a quote in the text becomes a typographic one.
std::string quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos;) text.replace(at, 1, "\u2019");
  return fmt::format("'{}'", text);
}

std::vector<const CLI::App*> commands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

std::string names(const CLI::App& app) {
  std::vector<std::string> list;
  for (const CLI::App* command : commands(app)) list.push_back(command->get_name());
  return fmt::format("{}", fmt::join(list, " "));
}

std::string flags(const CLI::App& command) {
  std::vector<std::string> list;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) list.push_back("--" + name);
  return fmt::format("{}", fmt::join(list, " "));
}

std::string bash(const CLI::App& app) {
  std::string cases;
  for (const CLI::App* command : commands(app))
    cases += fmt::format("    {}) flags={} ;;\n", command->get_name(), quoted(flags(*command)));
  return fmt::format(R"(# For bash: source <(quern completion bash)
_quern() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} flags=
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W {} -- "$word")
    return
  fi
  case ${{COMP_WORDS[1]}} in
{}  esac
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  fi
}}
complete -o filenames -F _quern quern
)",
                     quoted(names(app)), cases);
}

std::string zsh(const CLI::App& app) {
  std::string list, cases;
  for (const CLI::App* command : commands(app)) {
    list += fmt::format("    {}\n", quoted(command->get_name() + ":" + command->get_description()));
    cases += fmt::format("    {}) flags=({}) ;;\n", command->get_name(), flags(*command));
  }
  return fmt::format(R"(#compdef quern
# For zsh: save this as _quern in a folder of $fpath, or: source <(quern completion zsh)
_quern() {{
  local -a commands flags
  commands=(
{}  )
  if ((CURRENT == 2)); then
    _describe command commands
    return
  fi
  case $words[2] in
{}  esac
  if [[ $words[CURRENT] == -* ]]; then
    compadd -- $flags
  else
    _files
  fi
}}
(( $+functions[compdef] )) && compdef _quern quern
)",
                     list, cases);
}

std::string fish(const CLI::App& app) {
  std::string text = "# For fish: quern completion fish | source\n";
  for (const CLI::App* command : commands(app)) {
    text += fmt::format("complete -c quern -n __fish_use_subcommand -f -a {} -d {}\n", command->get_name(),
                        quoted(command->get_description()));
    for (const CLI::Option* option : command->get_options())
      for (const std::string& name : option->get_lnames())
        text += fmt::format("complete -c quern -n '__fish_seen_subcommand_from {}' -l {} -d {}\n",
                            command->get_name(), name, quoted(option->get_description()));
  }
  return text;
}

}  // namespace

void add_completion(CLI::App& app, int& status) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("completion", "Print what makes a shell complete commands and flags");
  command->add_option("shell", *shell, "bash, zsh or fish")->required();
  command->callback([shell, &app, &status] {
    if (*shell == "bash") {
      fmt::print("{}", bash(app));
    } else if (*shell == "zsh") {
      fmt::print("{}", zsh(app));
    } else if (*shell == "fish") {
      fmt::print("{}", fish(app));
    } else {
      fail_input("completion for '{}': choose bash, zsh or fish", *shell);
    }
    status = 0;
  });
}

}  // namespace quern::cli
