#pragma once

/// What the commands share on their way to the terminal.

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace quern::cli {

/// Kept for a run's config.json.
void remember_command_line(int argc, char** argv);
const std::vector<std::string>& command_line();
/// Since the kernel started this process, or since the launcher became it (QUERN_LAUNCHED), to 10 ms: loading
/// the libraries counts. Where /proc does not tell, since remember_command_line(), which main() calls first.
double seconds_since_start();
/// The most memory this process has had resident, in MiB; 0 where /proc does not tell.
double peak_rss_mib();

/// One line on standard error, "quern: " before it, made printable.
void complain(std::string_view message);

bool stdout_is_terminal();
bool stderr_is_terminal();
/// Of the terminal behind `stream`; 80 where there is none.
std::size_t terminal_columns(std::FILE* stream);

/// Code points, which for what Quern prints is also the width on screen.
std::size_t display_width(std::string_view text);

/// A table with a header, columns as wide as their longest cell and two spaces apart. Columns whose header
/// starts with '>' are aligned to the right (the '>' is not printed). Rows shorter than the header are
/// padded.
std::string format_table(const std::vector<std::string>& header,
                         const std::vector<std::vector<std::string>>& rows);

}  // namespace quern::cli
