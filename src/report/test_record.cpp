#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "quern/error.hpp"
#include "quern/file.hpp"
#include "quern/image.hpp"
#include "quern/report.hpp"
#include "report/html.hpp"

namespace quern {
namespace {

int best_class(std::span<const float> row) {
  return static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
}

std::string picture(const Split& images, std::int64_t index) {
  const auto pixels = images.image(index);
  const int width = static_cast<int>(images.width), height = static_cast<int>(images.height);
  if (images.channels == 1)
    return base64(encode_png(GrayImage{width, height, {pixels.begin(), pixels.end()}}));
  if (images.channels == 3)
    return base64(encode_png(RgbImage{width, height, {pixels.begin(), pixels.end()}}));
  return "";
}

}  // namespace

std::vector<std::vector<std::int64_t>> confusion_matrix(const Evaluation& evaluation, const Split& images) {
  const auto classes = static_cast<std::size_t>(evaluation.classes);
  std::vector counts(classes, std::vector<std::int64_t>(classes));
  for (std::size_t i = 0; i < static_cast<std::size_t>(evaluation.count); ++i) {
    const int predicted = best_class(std::span(evaluation.logits).subspan(i * classes, classes));
    ++counts[images.labels[i]][static_cast<std::size_t>(predicted)];
  }
  return counts;
}

TestRecord make_test_record(const Evaluation& evaluation, const Split& images, const std::string& data,
                            std::vector<std::string> class_names) {
  const auto classes = static_cast<std::size_t>(evaluation.classes);
  QUERN_REQUIRE(evaluation.logits.size() == static_cast<std::size_t>(evaluation.count) * classes,
                "an evaluation without its logits");
  TestRecord record;
  record.data = data;
  record.accuracy = evaluation.accuracy;
  record.loss = evaluation.loss;
  record.confusion = confusion_matrix(evaluation, images);
  record.class_names = std::move(class_names);
  for (std::size_t i = record.class_names.size(); i < classes; ++i)
    record.class_names.push_back(std::to_string(i));
  record.class_names.resize(classes);

  const std::vector<float> probabilities = softmax(evaluation.logits, evaluation.classes);
  for (std::int64_t i = 0; i < evaluation.count; ++i) {
    const auto row = std::span(probabilities).subspan(static_cast<std::size_t>(i) * classes, classes);
    const int predicted =
        best_class(std::span(evaluation.logits).subspan(static_cast<std::size_t>(i) * classes, classes));
    const int label = images.labels[static_cast<std::size_t>(i)];
    if (predicted != label) record.mistakes.push_back({i, label, predicted, {row.begin(), row.end()}, ""});
  }
  record.mistakes_count = static_cast<std::int64_t>(record.mistakes.size());
  const auto certainty = [](const Mistake& mistake) {
    return mistake.probabilities[static_cast<std::size_t>(mistake.predicted)];
  };
  std::stable_sort(record.mistakes.begin(), record.mistakes.end(),
                   [&](const Mistake& a, const Mistake& b) { return certainty(a) > certainty(b); });
  if (record.mistakes.size() > TestRecord::kMostMistakes) record.mistakes.resize(TestRecord::kMostMistakes);
  for (Mistake& mistake : record.mistakes) mistake.png_base64 = picture(images, mistake.index);
  return record;
}

void save_test_record(const std::filesystem::path& path, const TestRecord& record) {
  nlohmann::json mistakes = nlohmann::json::array();
  for (const Mistake& mistake : record.mistakes)
    mistakes.push_back({{"index", mistake.index},
                        {"label", mistake.label},
                        {"predicted", mistake.predicted},
                        {"probabilities", mistake.probabilities},
                        {"png", mistake.png_base64}});
  // One mistake a line: readable, and small changes stay small.
  std::string text = nlohmann::json{{"data", record.data},
                                    {"accuracy", record.accuracy},
                                    {"loss", record.loss},
                                    {"class_names", record.class_names},
                                    {"confusion_matrix", record.confusion},
                                    {"mistakes_count", record.mistakes_count}}
                         .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.pop_back();
  text += ",\"mistakes\":[";
  for (std::size_t i = 0; i < mistakes.size(); ++i) text += (i > 0 ? ",\n" : "\n") + mistakes[i].dump();
  write_file_atomically(path, text + "\n]}\n");
}

TestRecord load_test_record(const std::filesystem::path& path) {
  constexpr std::uint64_t kLargest = std::uint64_t{64} << 20;
  const std::string text = read_text(path, kLargest);
  TestRecord record;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    record.data = json.at("data").get<std::string>();
    // A loss that is not finite is null.
    record.accuracy = json.at("accuracy").get<double>();
    record.loss =
        json.at("loss").is_null() ? std::numeric_limits<double>::quiet_NaN() : json.at("loss").get<double>();
    record.class_names = json.at("class_names").get<std::vector<std::string>>();
    record.confusion = json.at("confusion_matrix").get<std::vector<std::vector<std::int64_t>>>();
    record.mistakes_count = json.at("mistakes_count").get<std::int64_t>();
    for (const nlohmann::json& mistake : json.at("mistakes"))
      record.mistakes.push_back({mistake.at("index").get<std::int64_t>(), mistake.at("label").get<int>(),
                                 mistake.at("predicted").get<int>(),
                                 mistake.at("probabilities").get<std::vector<float>>(),
                                 mistake.at("png").get<std::string>()});
  } catch (const nlohmann::json::exception& error) {
    fail_input("{}: no record of a test: {}; train again, or delete it", path.string(), error.what());
  }
  const std::size_t classes = record.class_names.size();
  const auto square = [&](const auto& row) { return row.size() == classes; };
  const auto in_range = [&](int index) { return index >= 0 && static_cast<std::size_t>(index) < classes; };
  const bool good = record.confusion.size() == classes &&
                    std::all_of(record.confusion.begin(), record.confusion.end(), square) &&
                    std::all_of(record.mistakes.begin(), record.mistakes.end(), [&](const Mistake& mistake) {
                      return in_range(mistake.label) && in_range(mistake.predicted) &&
                             mistake.probabilities.size() == classes && is_base64(mistake.png_base64);
                    });
  if (!good) fail_input("{}: its classes do not fit together; train again, or delete it", path.string());
  return record;
}

}  // namespace quern
