#include "cli/man_page.hpp"

#include <fmt/format.h>

#include "cli/help.hpp"
#include "quern/version.hpp"

namespace quern::cli {
namespace {

/// Text as roff prints it: nothing in it is a request or an escape, and what can be copied stays ASCII.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '\\':
        out += "\\e";
        break;
      case '-':
        out += "\\-";
        break;
      case '\'':
        out += "\\(aq";
        break;
      case '`':
        out += "\\(ga";
        break;
      case '^':
        out += "\\(ha";
        break;
      case '~':
        out += "\\(ti";
        break;
      default:
        out += c;
    }
  return out.starts_with('.') ? "\\&" + out : out;
}

/// A paragraph in lines of the source that a person can read.
std::string paragraph(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t end = text.size();
    if (end > 70)
      if (end = text.find(' ', 70); end == std::string_view::npos) end = text.size();
    out += escaped(text.substr(0, end)) + '\n';
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::string item(std::string_view name, std::string_view meaning) {
  return fmt::format(".TP\n\\fB{}\\fR\n{}", escaped(name), paragraph(meaning));
}

std::string flag(const CLI::Option& option) {
  const std::string heading = flag_heading(option), type = option.get_type_name();
  // The names are bold, what they take is set apart from them.
  const bool takes = !option.get_positional() && takes_value(option);
  const std::string names = takes ? heading.substr(0, heading.size() - type.size() - 1) : heading;
  return fmt::format(".TP\n\\fB{}\\fR{}\n{}", escaped(names),
                     takes ? fmt::format(" \\fI{}\\fR", escaped(type)) : "",
                     paragraph(option.get_description() + (option.get_required() ? " (required)" : "")));
}

std::string command_section(const CLI::App& command) {
  const std::string path = command_path(command);
  std::string out = fmt::format(".SS quern {}\n{}.\n", escaped(path), escaped(command.get_description()));
  const CommandHelp* help = find_help(path);
  if (help != nullptr) out += ".PP\n" + paragraph(help->about);
  for (const FlagSection& section : flag_sections(command)) {
    if (section.heading == "Help") continue;  // said once, in the description
    out += fmt::format(".PP\n\\fI{}\\fR\n", escaped(section.heading));
    for (const CLI::Option* option : section.flags) out += flag(*option);
  }
  if (help != nullptr && !help->exit_status.empty())
    out += ".PP\n" + paragraph(fmt::format("Exit status: {}.", help->exit_status));
  for (const CLI::App* below : commands_of(command)) out += command_section(*below);
  return out;
}

std::string examples(std::span<const Example> list) {
  std::string out;
  for (const Example& example : list) out += item(example.line, fmt::format("{}.", example.what));
  return out;
}

std::string terms(const char* heading, std::span<const Term> list) {
  std::string out = fmt::format(".SH {}\n", heading);
  for (const Term& term : list) out += item(term.name, term.meaning);
  return out;
}

}  // namespace

std::string man_page(const CLI::App& app) {
  std::string out = fmt::format(".TH QUERN 1 \"\" \"quern {}\" \"User Commands\"\n", escaped(version()));
  out += ".SH NAME\nquern \\- train convolutional networks with hand\\-tuned kernels\n";
  out += ".SH SYNOPSIS\n";
  std::string between;
  for (const CLI::App* command : commands_of(app)) {
    out += between + escaped(usage_line(*command)) + '\n';
    between = ".br\n";
  }
  out += ".SH DESCRIPTION\n" + paragraph(app.get_description());
  out += ".PP\n" +
         paragraph(
             "Flags follow one habit: --device says where to compute, --json prints one JSON object as "
             "the last line of standard output, --quiet silences progress. A flag that is given twice "
             "counts the second time. Progress is drawn on terminals only. --help after any command "
             "shows its flags and examples; quern --help-all shows all of them, quern --version the "
             "version.");
  out += ".SH COMMANDS\n";
  for (const CLI::App* command : commands_of(app)) out += command_section(*command);
  out += ".SH EXAMPLES\n" + examples(first_examples());
  for (const CommandHelp& help : command_helps()) out += examples(help.examples);
  out += terms("ENVIRONMENT", environment_variables());
  out += terms("FILES", files());
  out += terms("EXIT STATUS", exit_statuses());
  return out;
}

}  // namespace quern::cli
