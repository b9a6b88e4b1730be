#include "report/events.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "report/run_recorder.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

// RFC 3720, section B.4: 32 bytes of zeros, of ones, and 0 to 31. The framing rotates and adds.
TEST(Crc32c, KnownAnswers) {
  const auto masked = [](std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8u; };
  EXPECT_EQ(masked_crc32c(std::string(32, '\0')), masked(0x8a9136aau));
  EXPECT_EQ(masked_crc32c(std::string(32, '\xff')), masked(0x62a8ab43u));
  std::string rising;
  for (char i = 0; i < 32; ++i) rising += i;
  EXPECT_EQ(masked_crc32c(rising), masked(0x46dd794eu));
}

/// A reader of its own: fields of a message by number, nested messages as texts.
struct Message {
  std::multimap<int, std::string> texts;
  std::multimap<int, std::uint64_t> integers;
  std::multimap<int, double> numbers;

  explicit Message(std::string_view bytes) {
    const auto varint = [&] {
      std::uint64_t value = 0;
      for (unsigned shift = 0;; shift += 7) {
        const auto byte = static_cast<std::uint8_t>(bytes.at(0));
        bytes.remove_prefix(1);
        value |= static_cast<std::uint64_t>(byte & 127) << shift;
        if (byte < 128) return value;
      }
    };
    while (!bytes.empty()) {
      const std::uint64_t key = varint();
      const int number = static_cast<int>(key >> 3);
      if ((key & 7) == 0) {
        integers.emplace(number, varint());
      } else if ((key & 7) == 2) {
        const std::uint64_t length = varint();
        texts.emplace(number, bytes.substr(0, length));
        if (length > bytes.size()) throw std::runtime_error("cut short");
        bytes.remove_prefix(length);
      } else if ((key & 7) == 1) {
        double value = 0;
        std::memcpy(&value, bytes.data(), 8);
        numbers.emplace(number, value);
        bytes.remove_prefix(8);
      } else {
        float value = 0;
        std::memcpy(&value, bytes.data(), 4);
        numbers.emplace(number, static_cast<double>(value));
        bytes.remove_prefix(4);
      }
    }
  }
  const std::string& text(int number) const { return texts.find(number)->second; }
  std::uint64_t integer(int number) const { return integers.find(number)->second; }
  double number(int number) const { return numbers.find(number)->second; }
};

std::vector<Message> read_events(const std::filesystem::path& path) {
  const std::string file = test::get(path);
  std::vector<Message> events;
  std::string_view rest = file;
  const auto word = [&] {
    std::uint32_t value = 0;
    std::memcpy(&value, rest.data(), 4);
    rest.remove_prefix(4);
    return value;
  };
  while (!rest.empty()) {
    const std::string_view head = rest.substr(0, 8);
    std::uint64_t length = 0;
    std::memcpy(&length, head.data(), 8);
    rest.remove_prefix(8);
    EXPECT_EQ(word(), masked_crc32c(head));
    const std::string_view data = rest.substr(0, length);
    rest.remove_prefix(length);
    EXPECT_EQ(word(), masked_crc32c(data));
    events.emplace_back(data);
  }
  return events;
}

TEST(EventFiles, HoldWhatWasWritten) {
  const test::TemporaryFolder folder;
  std::filesystem::path path;
  {
    EventFile events(folder.path(), 1000000000.5, 0);
    path = events.path();
    events.scalar("loss", 0.25, 7, 1000000001.0);
    const std::vector<float> values{-1, 0, 0.5f, 3};
    events.histogram("weights", values, 7, 1000000001.0);
    events.histogram("same", std::vector<float>(5, 2.0f), 7, 1000000001.0);
    events.histogram("none", {}, 7, 1000000001.0);
    events.image("picture", RgbImage{2, 1, {1, 2, 3, 4, 5, 6}}, 8, 1000000002.0);
    events.flush();
  }
  EXPECT_EQ(path.filename(), "events.out.tfevents.1000000000.quern");
  const auto events = read_events(path);
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0].text(3), "brain.Event:2");
  EXPECT_EQ(events[0].number(1), 1000000000.5);
  const auto value = [&](std::size_t i) { return Message(Message(events[i].text(5)).text(1)); };
  EXPECT_EQ(events[1].integer(2), 7u);
  EXPECT_EQ(value(1).text(1), "loss");
  EXPECT_EQ(value(1).number(2), 0.25);
  const Message histogram(value(2).text(5));
  EXPECT_EQ(histogram.number(1), -1);
  EXPECT_EQ(histogram.number(2), 3);
  EXPECT_EQ(histogram.number(3), 4);
  EXPECT_EQ(histogram.number(4), 2.5);
  EXPECT_EQ(histogram.number(5), 10.25);
  ASSERT_EQ(histogram.text(6).size(), histogram.text(7).size());
  double counted = 0, last = -1;
  for (std::size_t i = 0; i < histogram.text(7).size(); i += 8) {
    double count = 0, limit = 0;
    std::memcpy(&count, histogram.text(7).data() + i, 8);
    std::memcpy(&limit, histogram.text(6).data() + i, 8);
    counted += count;
    EXPECT_GT(limit, last);
    last = limit;
  }
  EXPECT_EQ(counted, 4);
  EXPECT_EQ(last, 3);
  EXPECT_EQ(Message(value(3).text(5)).text(7).size(), 8u);
  const Message picture(value(4).text(4));
  EXPECT_EQ(picture.integer(1), 1u);
  EXPECT_EQ(picture.integer(2), 2u);
  EXPECT_EQ(picture.text(4).substr(1, 3), "PNG");
}

TEST(EventFiles, ARunThatGoesOnTellsFromWhere) {
  const test::TemporaryFolder folder;
  const EventFile first(folder.path(), 1000000000, 0);
  const EventFile second(folder.path(), 1000000000, 40);
  EXPECT_NE(first.path(), second.path());
  const auto events = read_events(second.path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].integer(2), 40u);
  EXPECT_EQ(Message(events[1].text(7)).integer(1), 1u);
}

// Running means of an epoch become means of stretches.
TEST(RunRecorder, RecordsStretches) {
  const test::TemporaryFolder folder;
  RunRecorder recorder(folder.path(), 100, 0);
  TrainProgress progress;
  const auto at = [&](std::int64_t epoch, std::int64_t step, double loss) {
    progress.epoch = epoch;
    progress.step_in_epoch = step;
    progress.loss = loss;
    recorder.progress(progress);
  };
  at(1, 10, 2.0);
  at(1, 11, 9.0);  // too soon after the last
  at(1, 20, 1.5);  // so 1.0 over these ten
  EpochResult result;
  result.epoch = 1;
  result.step = 100;
  result.train_loss = 0.5;  // 50 in all, 20 of them for the 80 steps
  Checkpoint checkpoint;
  checkpoint.spec = parse_model_spec(
      R"({"name": "m", "input": {"shape": [4, 4, 1]}, "layers": [
          {"name": "conv", "op": "conv2d", "filters": 2, "kernel": 3}, {"name": "flat", "op": "flatten"},
          {"name": "out", "op": "dense", "units": 3}], "recipe": {}})",
      "m");
  checkpoint.weights.assign(static_cast<std::size_t>(weight_layout(checkpoint.spec).total_elements), 0.5f);
  recorder.epoch(result, checkpoint);
  at(2, 50, 0.125);
  result.epoch = 2;
  result.step = 200;
  result.train_loss = 0.125;
  recorder.epoch(result, checkpoint);

  std::vector<nlohmann::json> rows;
  std::istringstream lines(test::get(folder / "progress.jsonl"));
  for (std::string line; std::getline(lines, line);) rows.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(rows.size(), 5u);
  const std::vector<double> losses{2.0, 1.0, 0.25, 0.125, 0.125}, epochs{0.1, 0.2, 1, 1.5, 2};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_NEAR(rows[i]["loss"].get<double>(), losses[i], 1e-12) << i;
    EXPECT_NEAR(rows[i]["epochs"].get<double>(), epochs[i], 1e-12) << i;
  }
  std::filesystem::path events;
  for (const std::string& name : folder.names())
    if (name.starts_with("events.")) events = folder / name;
  std::map<std::string, int> tags;
  for (const Message& event : read_events(events))
    if (event.texts.contains(5)) ++tags[Message(Message(event.text(5)).text(1)).text(1)];
  EXPECT_EQ(tags["step/loss"], 5);
  EXPECT_EQ(tags["epoch/loss/training"], 2);
  EXPECT_EQ(tags["conv.weight"], 2);
  EXPECT_EQ(tags["filters/conv"], 2);
  EXPECT_EQ(tags.count("epoch/loss/validation"), 0u);
}

}  // namespace
}  // namespace quern
