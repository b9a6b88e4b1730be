#include "cli/help.hpp"

#include <algorithm>

namespace quern::cli {
namespace {

constexpr std::string_view kTrain = "Train and look", kMeasure = "Measure", kExchange = "Exchange",
                           kSetup = "Setup";

}  // namespace

std::span<const CommandHelp> command_helps() {
  static const std::vector<CommandHelp> helps{
      {"train",
       kTrain,
       "Trains a model by its recipe, single fields of which flags replace, and reports its accuracy on the "
       "test set. The run's folder holds checkpoints, curves, the plan and a page (report.html). The same "
       "seed, device, build and thread count give the same bits, also when a run was stopped and resumed. "
       "Ctrl-C finishes the step, saves and says how to go on; a second one kills.",
       {{"quern train", "seed-bn on MNIST; the run lies in runs/"},
        {"quern train --model lenet5 --epochs 10 --validation 5000 --early-stop 3",
         "the epochs are judged by 5,000 images held out of the training set"},
        {"quern train --run-dir runs/first --epochs 2 --augment-shift 2 --augment-rotate 10",
         "in a folder of that name, with augmented images"},
        {"quern train --resume runs/first", "go on where that run was stopped"},
        {"quern train --set layers.conv1.filters=16 --lr 0.003",
         "with one field of the model's spec replaced"},
        {"quern train --tui", "curves, speed and time by node, drawn while it trains"}},
       "1 the accuracy is below --require-accuracy, or the loss is not finite (see --on-nan); 130 (143) "
       "ended "
       "by SIGINT (SIGTERM), with everything saved"},
      {"sweep",
       kTrain,
       "Trains many settings over several seeds, all combinations or random ones, and ranks them by their "
       "mean "
       "accuracy on images held out of the training set: 5,000 unless --validation says otherwise, others "
       "for "
       "each seed. The test set is not read before --final-test does. Ctrl-C saves the run that is being "
       "trained, and a sweep started again in the same folder goes on with what is missing.",
       {{"quern sweep --vary lr=1e-3,3e-3 --vary spec:layers.conv1.filters=16,32 --epochs 2",
         "four settings, three seeds each"},
        {"quern sweep --random 20 --vary lr=log:1e-4..1e-2 --vary augment-shift=uniform:0..2 --seeds 1",
         "twenty drawn settings"},
        {"quern sweep --seeds 5 --validation 0 --final-test", "n, mean, sd, min and max of one setting"},
        {"quern sweep --dir sweeps/NAME", "go on with what is missing"}},
       {}},
      {"eval",
       kTrain,
       "Evaluates a checkpoint on the test set: accuracy with the error bar that so many images allow, loss "
       "and the confusion matrix. A run folder stands for its best checkpoint. Weights that were averaged in "
       "training (--ema) are evaluated as the average. Of several checkpoints, and of shifted or mirrored "
       "views of an image (--tta, --tta-mirror), the mean of the probabilities counts.",
       {{"quern eval runs/first", "accuracy and confusion matrix"},
        {"quern eval --ensemble runs/first runs/second --tta 5",
         "what two networks say together of five views"},
        {"quern eval runs/first --train-set", "of the images it was trained on"},
        {"quern eval runs/first --json --limit-test 1000", "one JSON object, about the first 1,000 images"}},
       {}},
      {"predict",
       kTrain,
       "Says what a network takes pictures for. A picture of another size is cut out, scaled and centred by "
       "its mass, as MNIST's own were; dark ink on light paper is inverted.",
       {{"quern predict digit.png", "the newest run judges a picture"},
        {"quern predict scans/ --json", "every picture of a folder"},
        {"quern predict '#7' --checkpoint runs/first --show",
         "an image of the test set, drawn as the network sees it"}},
       {}},
      {"data",
       kTrain,
       "Describes a data set: images, classes, pixel statistics, checksums. With --preview it draws what "
       "training makes of some images: every draw is the very image that `quern train` with the same model, "
       "seed and flags trains on in that epoch.",
       {{"quern data --data mnist", "counts, classes, checksums"},
        {"quern data --preview sheet.png --augment-shift 2 --augment-rotate 10",
         "eight epochs of ten images, augmented"}},
       {}},
      {"check",
       kMeasure,
       "Holds every implementation of every operation and direction against a reference of naive loops in "
       "double precision, over one table of cases: exactly on small integers, within stated tolerances on "
       "random input, with poisoned outputs and guard bands.",
       {{"quern check --device cpu --op conv2d.forward", "one direction of one operation"},
        {"quern check --device emu --op relu --races", "the CUDA kernels on the emulator, races too"},
        {"quern check --mode support --assume sm_90",
         "who would serve what on a GPU that is not here (needs a build with CUDA)"},
        {"quern check --op dense --list", "the names of the cases"}},
       "1 an implementation is wrong; what could not run here is listed as NOT_RUN and is no failure"},
      {"bench",
       kMeasure,
       "Times every implementation, each verified first, and shows how near it comes to the roofline that "
       "was "
       "measured on the same device. `quern bench train` times whole steps and runs.",
       {{"quern bench --op dense --batch 64,256", "all but the reference, at two batch sizes"},
        {"quern bench --impl onednn --op dense.forward --json", "one provider, one direction, for machines"}},
       "1 an implementation was wrong; it then has no time"},
      {"bench train",
       kMeasure,
       "Times training steps of one or more models over batch sizes, or with --run whole runs over several "
       "seeds, which also gives the spread of the accuracy.",
       {{"quern bench train --model seed-bn --batch 64,256", "milliseconds a step"},
        {"quern bench train --model seed --run --seeds 2 --limit-train 6400 --epochs 1",
         "whole runs of two seeds"}},
       "1 the mean accuracy is below --to-accuracy"},
      {"profile",
       kMeasure,
       "Trains for a few steps and shows what every node of the step costs, beside the least it could cost "
       "by the measured roofline.",
       {{"quern profile", "seed-bn at its recipe's batch size"},
        {"quern profile --model resnet-tiny --batch 32 --steps 5 --trace t.json", "and a trace for Perfetto"},
        {"quern profile --json > runs/first/profile.json",
         "`quern report runs/first` then shows the time of every node"}},
       {}},
      {"export",
       kExchange,
       "Writes a checkpoint for other programs: the inference graph as ONNX (normalisation inside, batch "
       "normalisation folded), or its weights as safetensors in the names and layouts of PyTorch or Keras.",
       {{"quern export runs/first --onnx net.onnx", "for onnxruntime"},
        {"quern export runs/first --torch net.safetensors", "for load_state_dict() of PyTorch"}},
       {}},
      {"import",
       kExchange,
       "Makes a checkpoint of weights that were trained elsewhere. It stands at step 0: `quern eval FILE` "
       "judges it, `quern train --resume FILE` trains on. Batch normalisation's epsilon is the model spec's: "
       "PyTorch's default is 1e-5, the shipped models have 1e-3.",
       {{"quern import net.safetensors --model seed-bn -o imported.safetensors",
         "of what `quern export --torch` wrote, or PyTorch"},
        {"quern import net.safetensors --rename features.0=conv1 --layout torch -o imported.safetensors",
         "with other names"}},
       {}},
      {"report",
       kTrain,
       "Writes a run's page anew, or one that compares several runs: curves, confusion matrix, the images it "
       "got wrong. A page is one file without scripts from elsewhere.",
       {{"quern report runs/first", "report.html in its folder"},
        {"quern report runs/first runs/second -o compare.html", "one page about two runs"}},
       {}},
      {"info",
       kSetup,
       "Shows the build, the devices that are there and who computes on them; with --plan every node of a "
       "model's step: shapes, the implementation that was chosen, why others refused, launches, memory.",
       {{"quern info", "the build and its devices"},
        {"quern info --plan --model resnet-tiny", "who computes what"},
        {"quern info --plan --device cuda --assume sm_90",
         "on a GPU that is not here (needs a build with CUDA)"}},
       {}},
      {"models",
       kSetup,
       "Lists the models that are shipped, or shows one: layers, shapes, parameters, FLOPs, recipe. A model "
       "is a JSON file; `--model my.json` trains yours.",
       {{"quern models", "all of them"},
        {"quern models seed-bn", "the layers of one"},
        {"quern models lenet5 --json", "for machines"}},
       {}},
      {"completion",
       kSetup,
       "Prints what makes a shell complete commands, flags and the values of flags.",
       {{"quern completion bash > quern.bash",
         "then: source quern.bash; or: source <(quern completion bash)"},
        {"quern completion zsh > _quern", "in a folder of $fpath"},
        {"quern completion fish > quern.fish", "in ~/.config/fish/completions"}},
       {}},
      {"man",
       kSetup,
       "Prints the manual page in roff, from the same flags and texts as --help. Installing Quern installs "
       "it, and "
       "`man quern` shows it.",
       {{"quern man | man -l -", "read it without installing anything"},
        {"quern man > quern.1", "as a file"}},
       {}},
  };
  return helps;
}

const CommandHelp* find_help(std::string_view command) {
  const auto helps = command_helps();
  const auto found = std::find_if(helps.begin(), helps.end(),
                                  [&](const CommandHelp& help) { return help.command == command; });
  return found == helps.end() ? nullptr : &*found;
}

std::span<const Example> first_examples() {
  static constexpr Example examples[] = {
      {"quern train", "seed-bn on MNIST; the run lies in runs/"},
      {"quern train --model lenet5 --epochs 10 --validation 5000", "judged by images held out"},
      {"quern train --resume runs/NAME", "go on where a run was stopped"},
      {"quern sweep --vary lr=1e-3,3e-3 --epochs 2", "settings ranked by images held out"},
      {"quern eval runs/NAME", "accuracy and confusion matrix"},
      {"quern predict digit.png", "what the newest run says of a picture"},
      {"quern report runs/A runs/B", "one page that compares runs"},
      {"quern export runs/NAME --onnx net.onnx", "for onnxruntime; --torch, --keras"},
      {"quern data --preview sheet.png", "what the network sees of its images"},
      {"quern info --plan --model resnet-tiny", "who computes what"},
  };
  return examples;
}

std::span<const Term> environment_variables() {
  static constexpr Term variables[] = {
      {"QUERN_DATA", "The folder that holds models/ and the data sets, looked in first."},
      {"QUERN_PIN", "1: worker threads of the CPU device stay on a core each, where there are enough cores."},
      {"QUERN_CUDNN_PATH", "Where cuDNN is, where the system and the CUDA toolkit do not tell."},
      {"QUERN_CUBLAS_PATH", "Where cuBLAS is, likewise."},
      {"XDG_CACHE_HOME",
       "Below it, in quern/times.json, are the times that --impl auto has measured (default "
       "~/.cache)."},
      {"NO_COLOR", "Set to anything: no colours. There are none but on a terminal."},
  };
  return variables;
}

std::span<const Term> files() {
  static constexpr Term list[] = {
      {"runs/TIME-MODEL/", "A run's folder; --run-dir names another."},
      {"last.safetensors, best.safetensors",
       "In it: the newest checkpoint, and the one with the best validation accuracy (the last epoch's, where "
       "nothing was held out)."},
      {"config.json, plan.json", "All that is needed to repeat the run; who computed what."},
      {"metrics.csv, metrics.jsonl, events.out.tfevents.*", "Its curves, also for TensorBoard."},
      {"test.json, report.html", "What became of the test set, and the run's page."},
      {"data/models/*.json, PREFIX/share/quern/models/*.json", "The models that are shipped."},
      {"data/mnist, PREFIX/share/quern/mnist", "MNIST as IDX files."},
  };
  return list;
}

std::span<const Term> exit_statuses() {
  static constexpr Term statuses[] = {
      {"0", "Good."},
      {"1", "The answer is no: a check failed, an accuracy is below what was required."},
      {"2", "Bad usage or bad input."},
      {"3", "The device or the system failed."},
  };
  return statuses;
}

}  // namespace quern::cli
