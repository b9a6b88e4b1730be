#include "cli/commands.hpp"
#include "cli/interrupt.hpp"
#include "cli/train_run.hpp"

namespace quern::cli {

void add_train(CLI::App& app, int& status) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* command = app.add_subcommand("train", "Train a model and report its test accuracy");
  flags->add_to(*command);
  command->callback([flags, &status] {
    const InterruptGuard guard;
    const OutputFlags& output = flags->output;
    ProgressPrinter printer(output.json ? stderr : stdout, output.quiet);
    status = TrainRun(flags->request(), printer).execute(output.json);
  });
}

}  // namespace quern::cli
