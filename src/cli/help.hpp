#pragma once

/// What is said about the commands beyond their flags, in one table: `--help` and the manual page show it,
/// and a test parses every example. A command without an entry fails that test.

#include <CLI/CLI.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::cli {

/// A line for a shell, and what it does. The line begins with "quern "; what follows " | " or " > " is the
/// shell's.
struct Example {
  std::string_view line, what;
};

struct CommandHelp {
  std::string_view command;  ///< "train"; "bench train"
  std::string_view group;    ///< the heading it stands under in `quern --help`
  std::string_view about;    ///< one paragraph
  std::vector<Example> examples;
  std::string_view exit_status;  ///< what it adds to kExitStatuses; may be empty
};

/// A name and what it means: a variable, a file, an exit status.
struct Term {
  std::string_view name, meaning;
};

std::span<const CommandHelp> command_helps();
/// Of "train" or "bench train"; null where there is none.
const CommandHelp* find_help(std::string_view command);

std::span<const Example> first_examples();  ///< those of `quern --help`
std::span<const Term> environment_variables();
std::span<const Term> files();
std::span<const Term> exit_statuses();

/// Have `app` and the commands that will be added to it print their help as print_help() writes it.
void use_help_format(CLI::App& app);
/// Puts the commands, now that they are there, under their headings, and names what their flags take.
void apply_help(CLI::App& app);
/// The help of a command, or of the whole program, in lines of at most `columns`.
std::string help_text(const CLI::App& app, std::size_t columns);

/// Those directly below it, in the order they were added.
std::vector<CLI::App*> commands_of(CLI::App& app);
std::vector<const CLI::App*> commands_of(const CLI::App& app);
/// "train", "bench train"; empty for the program itself.
std::string command_path(const CLI::App& app);
/// "quern eval [FLAGS] CHECKPOINT".
std::string usage_line(const CLI::App& app);
/// Whether something follows it, unlike a flag that is on or off.
bool takes_value(const CLI::Option& option);
/// "-o, --output FILE"; a positional's name.
std::string flag_heading(const CLI::Option& option);
/// Of a command, without those of its subcommands: headings in the order of their first flag, with their
/// flags.
struct FlagSection {
  std::string heading;
  std::vector<const CLI::Option*> flags;
};
std::vector<FlagSection> flag_sections(const CLI::App& app);

/// Flags added to `command` while one of these lives stand under `heading`.
class FlagGroup {
 public:
  FlagGroup(CLI::App& command, const std::string& heading)
      : defaults_(*command.option_defaults()), before_(defaults_.get_group()) {
    defaults_.group(heading);
  }
  ~FlagGroup() { defaults_.group(before_); }
  FlagGroup(const FlagGroup&) = delete;
  FlagGroup& operator=(const FlagGroup&) = delete;

 private:
  CLI::OptionDefaults& defaults_;
  std::string before_;
};

}  // namespace quern::cli
