#pragma once

/// The command line as a whole, without the process around it.

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

namespace quern::cli {

/// Adds all subcommands and what is said about them; `status` as in commands.hpp.
void set_up(CLI::App& app, int& status);

/// Throws an input error that lists the commands when the first argument is none of them, nor a flag. (CLI11
/// would only say that a command is required.)
void check_command(const CLI::App& app, std::string_view first);

/// One line: what is wrong, what may have been meant, where to look.
std::string message_of(const CLI::App& app, const CLI::ParseError& error);

}  // namespace quern::cli
