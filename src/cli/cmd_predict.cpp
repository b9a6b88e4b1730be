#include <algorithm>
#include <cctype>
#include <charconv>
#include <nlohmann/json.hpp>
#include <numeric>

#include "cli/commands.hpp"
#include "cli/console.hpp"
#include "cli/flags.hpp"
#include "cli/progress.hpp"
#include "quern/dataset.hpp"
#include "quern/error.hpp"
#include "quern/image.hpp"
#include "quern/version.hpp"
#include "train/run_folder.hpp"

namespace quern::cli {
namespace {

struct PredictFlags {
  std::vector<std::string> images;
  std::optional<std::string> checkpoint, data;
  DeviceFlags device;
  bool show = false;
  OutputFlags output;
};

/// "#123" or "test:123": an image of the test set. Nothing for anything else, which is a file.
std::optional<std::int64_t> test_index(const std::string& text) {
  const std::size_t prefix = text.starts_with('#') ? 1 : text.starts_with("test:") ? 5 : 0;
  if (prefix == 0) return std::nullopt;
  std::int64_t index = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + prefix, end, index);
  if (error != std::errc() || stop != end || index < 0)
    fail_input("'{}': a test image is given as #N or test:N with N from 0", text);
  return index;
}

/// Folders are replaced by the PNG and PGM files in them, in the order of their names.
std::vector<std::string> expand_folders(const std::vector<std::string>& given) {
  namespace fs = std::filesystem;
  std::vector<std::string> images;
  for (const std::string& text : given) {
    std::error_code error;
    if (test_index(text) || !fs::is_directory(text, error)) {
      images.push_back(text);
      continue;
    }
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(text, error)) {
      std::string extension = entry.path().extension().string();
      std::transform(extension.begin(), extension.end(), extension.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (extension == ".png" || extension == ".pgm") files.push_back(entry.path().string());
    }
    if (error) fail_input("{}: the folder cannot be read: {}", text, error.message());
    if (files.empty()) fail_input("{}: no PNG or PGM file in this folder", text);
    std::sort(files.begin(), files.end());
    images.insert(images.end(), files.begin(), files.end());
  }
  return images;
}

/// What the network saw, two rows of pixels a line: a half block is lit where a pixel is brighter than the
/// mean of the picture's darkest and brightest.
std::string block_picture(const Split& split, std::int64_t index) {
  const auto pixels = split.image(index);
  const auto [least, most] = std::minmax_element(pixels.begin(), pixels.end());
  const int threshold = (*least + *most) / 2;
  const auto lit = [&](std::int64_t row, std::int64_t column) {
    return row < split.height &&
           pixels[static_cast<std::size_t>((row * split.width + column) * split.channels)] > threshold;
  };
  std::string text;
  for (std::int64_t row = 0; row < split.height; row += 2) {
    std::string line;
    for (std::int64_t column = 0; column < split.width; ++column) {
      const bool upper = lit(row, column), lower = lit(row + 1, column);
      line += upper ? (lower ? "\u2588" : "\u2580") : lower ? "\u2584" : " ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

/// The images as the model takes them; the labels are the true ones where they are known, else 0.
struct Gathered {
  Split split;
  std::vector<std::optional<int>> labels;
};

Gathered gather(const PredictFlags& flags, const ModelSpec& spec, const std::string& data) {
  Gathered gathered;
  Split& split = gathered.split;
  split.height = spec.height;
  split.width = spec.width;
  split.channels = spec.channels;
  std::optional<Dataset> dataset;
  for (const std::string& image : flags.images) {
    if (const auto index = test_index(image)) {
      if (!dataset) dataset = load_dataset(data);
      const Split& test = dataset->test;
      if (*index >= test.count)
        fail_input("'{}': the test set has {} images, the last is #{}", image, test.count, test.count - 1);
      if (test.height != spec.height || test.width != spec.width || test.channels != spec.channels)
        fail_input("{} has images of {}x{}x{}, model '{}' takes {}x{}x{}: give another --data", dataset->name,
                   test.height, test.width, test.channels, spec.name, spec.height, spec.width, spec.channels);
      const auto pixels = test.image(*index);
      split.images.insert(split.images.end(), pixels.begin(), pixels.end());
      gathered.labels.emplace_back(test.labels[static_cast<std::size_t>(*index)]);
    } else {
      if (spec.channels != 1 || spec.height != spec.width)
        fail_input("{}: model '{}' takes images of {}x{}x{}; only square grey ones are read from files",
                   image, spec.name, spec.height, spec.width, spec.channels);
      PrepareOptions options;
      options.size = static_cast<int>(spec.height);
      options.box = std::max(1, options.size * 20 / 28);
      try {
        const GrayImage digit = prepare_digit(load_image(image), options);
        split.images.insert(split.images.end(), digit.pixels.begin(), digit.pixels.end());
      } catch (const Error& error) {
        // Preparing does not know the file's name; reading does.
        const std::string message = error.what();
        if (message.find(image) != std::string::npos) throw;
        throw Error(error.kind(), fmt::format("{}: {}", image, message));
      }
      gathered.labels.emplace_back();
    }
  }
  split.count = static_cast<std::int64_t>(flags.images.size());
  split.labels.assign(flags.images.size(), 0);
  return gathered;
}

std::string class_name(const std::vector<std::string>& names, std::size_t index) {
  return index < names.size() ? names[index] : std::to_string(index);
}

int run_predict(PredictFlags flags) {
  flags.images = expand_folders(flags.images);
  const std::filesystem::path path =
      find_checkpoint(flags.checkpoint ? std::filesystem::path(*flags.checkpoint) : RunFolder::newest("runs"),
                      /*resume=*/false);
  const Checkpoint checkpoint = load_checkpoint(path);
  const Gathered gathered = gather(flags, checkpoint.spec, flags.data.value_or(checkpoint.run.data));
  const SessionOptions options = flags.device.over({});
  Session session(checkpoint.spec, options);
  if (const std::string note = fallback_note(options.device); !note.empty() && !flags.output.quiet)
    fmt::print(stderr, "{}\n", note);
  session.set_weights(checkpoint.weights);
  if (!checkpoint.ema.empty()) session.set_average(checkpoint.ema);
  const DeviceImages images(session, gathered.split, "the images given");
  const Evaluation evaluation =
      Evaluator(session, images, first_indices(gathered.split.count)).run(/*keep_logits=*/true);
  const std::vector<float> probabilities = softmax(evaluation.logits, evaluation.classes);
  const auto classes = static_cast<std::size_t>(evaluation.classes);
  const auto& names = checkpoint.run.class_names;

  std::vector<std::vector<std::string>> rows;
  nlohmann::json predictions = nlohmann::json::array();
  for (std::size_t i = 0; i < flags.images.size(); ++i) {
    const auto of_image = std::span(probabilities).subspan(i * classes, classes);
    std::vector<std::size_t> ranked(classes);
    std::iota(ranked.begin(), ranked.end(), std::size_t{0});
    std::stable_sort(ranked.begin(), ranked.end(),
                     [&](std::size_t a, std::size_t b) { return of_image[a] > of_image[b]; });
    std::vector<std::string> row{flags.images[i], class_name(names, ranked[0])};
    for (std::size_t rank = 0; rank < std::min<std::size_t>(3, classes); ++rank)
      row.push_back(fmt::format("{}: {}", class_name(names, ranked[rank]),
                                percent(static_cast<double>(of_image[ranked[rank]]))));
    nlohmann::json prediction = {{"image", flags.images[i]},
                                 {"class", class_name(names, ranked[0])},
                                 {"index", ranked[0]},
                                 {"probability", of_image[ranked[0]]},
                                 {"probabilities", std::vector<float>(of_image.begin(), of_image.end())}};
    if (gathered.labels[i]) {
      prediction["label"] = *gathered.labels[i];
      row.resize(2 + 3);
      row.push_back(class_name(names, static_cast<std::size_t>(*gathered.labels[i])));
    }
    rows.push_back(std::move(row));
    predictions.push_back(std::move(prediction));
  }
  std::vector<std::string> header{"image", "class", "first", "second", "third"};
  if (std::any_of(gathered.labels.begin(), gathered.labels.end(),
                  [](const auto& label) { return label.has_value(); }))
    header.emplace_back("truth");
  if (!flags.output.quiet && !flags.output.json) {
    if (flags.show || (flags.images.size() == 1 && stdout_is_terminal()))
      for (std::int64_t i = 0; i < gathered.split.count; ++i)
        fmt::print("{}:\n{}\n", flags.images[static_cast<std::size_t>(i)], block_picture(gathered.split, i));
    fmt::print("{}", format_table(header, rows));
  }
  if (flags.output.json)
    fmt::print("{}\n", nlohmann::json{{"checkpoint", path.string()},
                                      {"model", checkpoint.spec.name},
                                      {"device", session.device_name()},
                                      {"predictions", std::move(predictions)},
                                      {"quern_version", version()}}
                           .dump());
  return 0;
}

}  // namespace

void add_predict(CLI::App& app, int& status) {
  auto flags = std::make_shared<PredictFlags>();
  CLI::App* command = app.add_subcommand(
      "predict", "Classify images: PNG or PGM files, folders of them, or #N of the test set");
  command
      ->add_option("image", flags->images,
                   "PNG or PGM files or folders of them; #N or test:N for an image of the test set")
      ->required()
      ->take_all();
  command->add_option("--checkpoint", flags->checkpoint,
                      "A run folder or a checkpoint file (default: the newest run)");
  command->add_option("--data", flags->data,
                      "The data set that #N counts in (default: what it was trained on)");
  command->add_flag("--show", flags->show,
                    "Draw what the network sees (a single image is drawn anyway on a terminal)");
  flags->device.add_to(*command);
  flags->output.add_to(*command);
  command->callback([flags, &status] { status = run_predict(*flags); });
}

}  // namespace quern::cli
