#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "quern/error.hpp"
#include "quern/suggest.hpp"
#include "quern/version.hpp"

namespace {

void complain(const std::string& message) {
  std::fflush(stdout);
  fmt::print(stderr, "quern: {}\n", message);
}

/// Which subcommand's help to point to.
std::string help_command(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "quern --help" : fmt::format("quern {} --help", chosen.front()->get_name());
}

/// CLI11 would only say that a command is required.
void check_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  if (std::find(names.begin(), names.end(), argv[1]) == names.end())
    quern::fail_input("unknown command '{}': choose one of {}{}", argv[1], fmt::join(names, ", "),
                      quern::did_you_mean(argv[1], names));
}

/// "; did you mean '--epochs'?" for the first unknown flag of a message of CLI11's.
std::string suggest_flag(const CLI::App& app, const std::string& message) {
  const std::size_t begin = message.find(" --");
  if (begin == std::string::npos) return "";
  const std::string flag = message.substr(begin + 1, message.find_first_of(" =", begin + 1) - begin - 1);
  const auto chosen = app.get_subcommands();
  std::vector<std::string> names;
  for (const CLI::Option* option : (chosen.empty() ? &app : chosen.front())->get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return quern::did_you_mean(flag, names);
}

int parse_error(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
    return app.exit(error);  // --help, --version
  std::string message = error.what();
  for (char& character : message)
    if (character == '\n') character = ' ';
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError))
    message += suggest_flag(app, message);
  complain(fmt::format("{}{} see `{}`", message, message.ends_with('?') ? "" : ";", help_command(app)));
  return quern::exit_status(quern::ErrorKind::input);
}

}  // namespace

int main(int argc, char** argv) {
  quern::cli::remember_command_line(argc, argv);
  CLI::App app{
      "quern trains convolutional networks with hand-tuned kernels that are checked against a reference.",
      "quern"};
  app.set_version_flag("--version", fmt::format("quern {}", quern::version()));
  app.require_subcommand(1);
  // A flag given twice: the last one counts, so that scripts can append theirs.
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.footer(
      "Examples:\n"
      "  quern train                                   seed-bn on MNIST; the run lies in runs/\n"
      "  quern train --model lenet5 --epochs 10 --validation 5000 --early-stop 3\n"
      "  quern train --resume runs/NAME                go on where a run was stopped\n"
      "  quern eval runs/NAME                          accuracy and confusion matrix\n"
      "  quern predict digit.png                       what the newest run says of a picture\n"
      "  quern report runs/A runs/B                    one page that compares runs\n"
      "  quern export runs/NAME --onnx net.onnx        for onnxruntime; --torch, --keras\n"
      "  quern data --preview sheet.png                what the network sees of its images\n"
      "  quern info --plan --model resnet-tiny         who computes what\n"
      "Exit status: 0 good, 1 the answer is no, 2 bad usage or input, 3 the device or the system failed.");
  app.set_help_all_flag("--help-all", "Print the help of every command");
  int status = 0;
  quern::cli::add_train(app, status);
  quern::cli::add_eval(app, status);
  quern::cli::add_predict(app, status);
  quern::cli::add_data(app, status);
#ifdef QUERN_HAVE_CHECK
  quern::cli::add_check(app, status);
  quern::cli::add_bench(app, status);
#endif
  quern::cli::add_export(app, status);
  quern::cli::add_import(app, status);
  quern::cli::add_report(app, status);
  quern::cli::add_profile(app, status);
  quern::cli::add_info(app, status);
  quern::cli::add_models(app, status);
  quern::cli::add_completion(app, status);
  try {
    check_command(app, argc, argv);
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return parse_error(app, error);
  } catch (const quern::Error& error) {
    const bool bug = error.kind() == quern::ErrorKind::internal;
    complain(bug ? fmt::format("internal error, please report it: {}", error.what()) : error.what());
    return quern::exit_status(error.kind());
  } catch (const std::bad_alloc&) {
    complain("out of memory: use a smaller batch or a smaller model");
    return quern::exit_status(quern::ErrorKind::device);
  } catch (const std::exception& error) {
    complain(fmt::format("internal error, please report it: {}", error.what()));
    return quern::exit_status(quern::ErrorKind::internal);
  }
  // What was printed must have arrived: a full disk behind `> file` is a failure too.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    complain("standard output could not be written: check the disk or the pipe behind it");
    return quern::exit_status(quern::ErrorKind::device);
  }
  return status;
}
