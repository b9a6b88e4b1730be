#include <cstdio>
#include <exception>
#include <new>
#include <string>

#include "cli/app.hpp"
#include "cli/console.hpp"
#include "cli/mistakes.hpp"
#include "quern/error.hpp"

namespace {

int parse_error(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
    return app.exit(error);  // --help, --version
  quern::cli::complain(quern::cli::message_of(app, error));
  return quern::exit_status(quern::ErrorKind::input);
}

}  // namespace

int main(int argc, char** argv) {
  quern::cli::remember_command_line(argc, argv);
  CLI::App app{
      "quern trains convolutional networks with hand-tuned kernels that are checked against a reference.",
      "quern"};
  int status = 0;
  quern::cli::set_up(app, status);
  try {
    if (argc > 1) quern::cli::check_command(app, argv[1]);
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return parse_error(app, error);
  } catch (const quern::Error& error) {
    const bool bug = error.kind() == quern::ErrorKind::internal;
    quern::cli::complain(bug ? fmt::format("internal error, please report it: {}", error.what())
                             : error.what());
    return quern::exit_status(error.kind());
  } catch (const std::bad_alloc&) {
    quern::cli::complain("out of memory: use a smaller batch or a smaller model");
    return quern::exit_status(quern::ErrorKind::device);
  } catch (const std::exception& error) {
    quern::cli::complain(fmt::format("internal error, please report it: {}", error.what()));
    return quern::exit_status(quern::ErrorKind::internal);
  }
  // What was printed must have arrived: a full disk behind `> file` is a failure too.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    quern::cli::complain("standard output could not be written: check the disk or the pipe behind it");
    return quern::exit_status(quern::ErrorKind::device);
  }
  return status;
}
