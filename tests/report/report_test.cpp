#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "quern/file.hpp"
#include "quern/report.hpp"
#include "report/chart.hpp"
#include "report/html.hpp"
#include "report/sections.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Html, EscapesWhatMeansSomething) {
  EXPECT_EQ(escape("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(escape("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

TEST(Html, ReplacesWhatIsNotText) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(escape("\x01\x1b["), bad + bad + "[");
  EXPECT_EQ(escape("\xff"), bad);
  EXPECT_EQ(escape("\xc0\xbc"), bad + bad);                 // an overlong '<'
  EXPECT_EQ(escape("\xed\xa0\x80"), bad + bad + bad);       // a surrogate
  EXPECT_EQ(escape("\xf4\x90\x80\x80").substr(0, 3), bad);  // beyond U+10FFFF
  EXPECT_EQ(escape("\xe2\x82<"), bad + bad + "&lt;");       // cut short
}

// RFC 4648, section 10.
TEST(Html, Base64) {
  const auto of = [](std::string_view text) { return base64(std::as_bytes(std::span(text))); };
  EXPECT_EQ(of(""), "");
  EXPECT_EQ(of("f"), "Zg==");
  EXPECT_EQ(of("fo"), "Zm8=");
  EXPECT_EQ(of("foobar"), "Zm9vYmFy");
  EXPECT_TRUE(is_base64("Zg=="));
  EXPECT_FALSE(is_base64("a\"onload"));
}

TEST(Html, Percent) {
  EXPECT_EQ(percent_text(0.99284), "99.28 %");
}

TEST(Chart, TicksAreRoundAndCover) {
  EXPECT_THAT(nice_ticks(0, 5, 5), testing::ElementsAre(0, 1, 2, 3, 4, 5));
  const auto ticks = nice_ticks(0.913, 0.987, 4);
  EXPECT_LE(ticks.front(), 0.913);
  EXPECT_GE(ticks.back(), 0.987);
  EXPECT_GE(nice_ticks(1, 1, 4).size(), 1u);
}

TEST(Chart, DrawsOnlyWhatCanBeDrawn) {
  Chart chart{"Loss", "epochs", {{"a", {{0, 1}, {1, NAN}, {2, 0}, {3, 0.1}, {4, INFINITY}}, 0}}};
  chart.logarithmic = true;
  const std::string svg = render_chart(chart);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  chart.series[0].points = {{0, NAN}};
  EXPECT_EQ(render_chart(chart), "");
  // One point, or many of one value.
  chart.series[0].points = {{1, 0.5}};
  EXPECT_THAT(render_chart(chart), Not(HasSubstr("nan")));
  Chart flat{"Accuracy", "epochs", {{"a", {{1, 1}, {2, 1}}, 0}}};
  flat.percent = true;
  flat.top = 1;
  EXPECT_THAT(render_chart(flat), Not(HasSubstr("nan")));
}

TEST(Chart, ThinningKeepsTheMean) {
  std::vector<std::pair<double, double>> points;
  for (int i = 0; i < 1000; ++i) points.emplace_back(i, i % 7);
  const auto few = thinned(points, 50);
  ASSERT_EQ(few.size(), 50u);
  EXPECT_DOUBLE_EQ(few[0].first, 9.5);
  EXPECT_EQ(thinned(points, 1000), points);
}

/// Logits for three classes whose largest is where `predicted` says.
Evaluation evaluation(const std::vector<int>& predicted, const Split& images) {
  Evaluation result;
  result.classes = 3;
  result.count = static_cast<std::int64_t>(predicted.size());
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    for (int k = 0; k < 3; ++k)
      result.logits.push_back(k == predicted[i] ? 1.0f + static_cast<float>(i) : 0.0f);
    result.correct += predicted[i] == images.labels[i];
  }
  result.accuracy = static_cast<double>(result.correct) / static_cast<double>(result.count);
  result.loss = 0.5;
  return result;
}

Split split(std::vector<std::uint8_t> labels) {
  Split images;
  images.count = static_cast<std::int64_t>(labels.size());
  images.height = images.width = 4;
  images.channels = 1;
  images.labels = std::move(labels);
  images.images.assign(static_cast<std::size_t>(images.count) * 16, 9);
  return images;
}

TEST(TestRecords, CountsAndRanksMistakes) {
  const Split images = split({0, 0, 1, 2, 2});
  const TestRecord record = make_test_record(evaluation({0, 1, 1, 0, 2}, images), images, "toy", {"x", "y"});
  EXPECT_THAT(record.class_names, testing::ElementsAre("x", "y", "2"));
  const std::vector<std::vector<std::int64_t>> expected{{1, 1, 0}, {0, 1, 0}, {1, 0, 1}};
  EXPECT_EQ(record.confusion, expected);
  ASSERT_EQ(record.mistakes.size(), 2u);
  EXPECT_EQ(record.mistakes_count, 2);
  EXPECT_EQ(record.mistakes[0].index, 3);  // its logit is larger: surer
  EXPECT_EQ(record.mistakes[0].predicted, 0);
  EXPECT_EQ(record.mistakes[1].label, 0);
}

TEST(TestRecords, ComeBackFromTheirFile) {
  const test::TemporaryFolder folder;
  const Split images = split({0, 0, 1, 2, 2});
  const TestRecord record =
      make_test_record(evaluation({0, 1, 1, 0, 2}, images), images, "t\"oy", {"x", "<y>", "\xff"});
  save_test_record(folder / "test.json", record);
  const TestRecord back = load_test_record(folder / "test.json");
  EXPECT_EQ(back.data, record.data);
  EXPECT_EQ(back.confusion, record.confusion);
  EXPECT_EQ(back.mistakes[1].probabilities, record.mistakes[1].probabilities);
  EXPECT_EQ(back.mistakes[0].png_base64, record.mistakes[0].png_base64);
}

TEST(TestRecords, RefuseWhatDoesNotFit) {
  const test::TemporaryFolder folder;
  const nlohmann::json good = {{"data", "d"},
                               {"accuracy", 1},
                               {"loss", 1},
                               {"class_names", {"a", "b"}},
                               {"confusion_matrix", {{1, 0}, {0, 1}}},
                               {"mistakes_count", 0},
                               {"mistakes", nlohmann::json::array()}};
  const auto expect = [&](const nlohmann::json& json) {
    write_file_atomically(folder / "test.json", json.dump());
    test::expect_error(ErrorKind::input, {"test.json"}, [&] { load_test_record(folder / "test.json"); });
  };
  write_file_atomically(folder / "test.json", good.dump());
  EXPECT_EQ(load_test_record(folder / "test.json").class_names.size(), 2u);
  nlohmann::json bad = good;
  bad["confusion_matrix"] = {{1, 0}, {0}};
  expect(bad);
  bad = good;
  bad.erase("loss");
  expect(bad);
  const nlohmann::json mistake = {
      {"index", 1}, {"label", 0}, {"predicted", 1}, {"probabilities", {0.2, 0.8}}, {"png", ""}};
  for (const auto& [key, value] : {std::pair<const char*, nlohmann::json>{"label", 2},
                                   {"predicted", -1},
                                   {"probabilities", {1}},
                                   {"png", "\"><script>"}}) {
    bad = good;
    bad["mistakes"] = {mistake};
    bad["mistakes"][0][key] = value;
    expect(bad);
  }
  write_file_atomically(folder / "test.json", "[");
  test::expect_error(ErrorKind::input, {"test.json"}, [&] { load_test_record(folder / "test.json"); });
}

/// A run folder whose every text that may be anything tries to be markup.
class HostileRun : public testing::Test {
 protected:
  HostileRun() {
    const std::string evil = "<script>alert(1)</script>\"'&";
    const nlohmann::json model = {
        {"name", "evil"},
        {"description", evil},
        {"input", {{"shape", {4, 4, 1}}}},
        {"layers",
         {{{"name", "c"}, {"op", "conv2d"}, {"filters", 2}, {"kernel", 3}, {"padding", "same"}},
          {{"name", "r"}, {"op", "relu"}},
          {{"name", "sum"}, {"op", "add"}, {"inputs", {"r", "c"}}},
          {{"name", "f"}, {"op", "flatten"}},
          {{"name", "out"}, {"op", "dense"}, {"units", 3}}}},
        {"recipe", {{"epochs", 2}}}};
    write("config.json", nlohmann::json{{"model", model},
                                        {"created", evil},
                                        {"quern_version", evil},
                                        {"device_name", evil},
                                        {"command_line", {"quern", "train", evil, "it's"}},
                                        {"run", {{"data", evil}, {"seed", 1}, {"device", evil}}}}
                             .dump());
    write(
        "metrics.jsonl",
        R"({"epoch":1,"step":10,"train_loss":1.5,"train_accuracy":0.5,"learning_rate":0.001,"seconds":1,"images_per_second":100,"validation_loss":1.25,"validation_accuracy":0.625})"
        "\n"
        R"({"epoch":2,"step":20,"train_loss":null,"train_accuracy":0.75,"learning_rate":0.001,"seconds":1,"images_per_second":100})"
        "\n{\"epoch\": 3, \"st");
    const Split images = split({0, 0, 1, 2, 2});
    save_test_record(folder_ / "test.json",
                     make_test_record(evaluation({0, 1, 1, 0, 2}, images), images, evil, {evil, "b", "c"}));
    write("profile.json",
          nlohmann::json{{"nodes",
                          {{{"node", evil}, {"implementation", evil}, {"us", 12.5}, {"of_roofline", 0.5}},
                           {{"node", 3}, {"us", "x"}}}}}
              .dump());
  }
  void write(const char* name, const std::string& text) { write_file_atomically(folder_ / name, text); }
  std::string render(int times = 1) {
    const std::vector<std::filesystem::path> runs(static_cast<std::size_t>(times), folder_.path());
    return render_report(runs);
  }
  test::TemporaryFolder folder_;
};

/// Element names that the page opens, and whether every one is closed.
std::vector<std::string> open_elements(const std::string& html) {
  static const std::regex tag(R"(<(/?)([a-zA-Z][a-zA-Z0-9]*)(?:[^<>"]|"[^"<>]*")*?(/?)>)");
  std::vector<std::string> open;
  for (std::sregex_iterator it(html.begin(), html.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2];
    if (name == "meta" || name == "br" || name == "img" || (*it)[3].length() > 0) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else if (!open.empty() && open.back() == name) {
      open.pop_back();
    } else {
      open.push_back("/" + name);
      return open;
    }
  }
  return open;
}

TEST_F(HostileRun, IsEscapedEverywhere) {
  for (const int times : {1, 2}) {
    const std::string html = render(times);
    EXPECT_THAT(html, Not(HasSubstr("<script")));
    EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    EXPECT_THAT(open_elements(html), testing::IsEmpty());
    EXPECT_THAT(html, HasSubstr("default-src 'none'"));
    EXPECT_THAT(html, Not(testing::ContainsRegex("(src|href)=\"[^d#]")));
  }
}

TEST_F(HostileRun, ShowsEverySection) {
  const std::string html = render();
  for (const char* part :
       {"Training", "Confusion", "Classes", "Mistakes", "Network", "Time per node", "Repeat this run",
        "60.00 %", "12.5", "50 % of roofline", "data:image/png;base64,"})
    EXPECT_THAT(html, HasSubstr(part));
  // As a shell takes it, then escaped.
  EXPECT_THAT(html, HasSubstr("quern train &#39;&lt;script&gt;"));
  EXPECT_THAT(html, HasSubstr("&#39;it&#39;\\&#39;&#39;s&#39;"));
}

TEST_F(HostileRun, MayLackEverythingButItsConfig) {
  for (const char* name : {"metrics.jsonl", "test.json", "profile.json"})
    std::filesystem::remove(folder_ / name);
  EXPECT_THAT(render(), HasSubstr("has not been looked at"));
  EXPECT_THAT(open_elements(render(2)), testing::IsEmpty());
}

TEST_F(HostileRun, RefusesWhatIsDamaged) {
  const auto refuse = [&](const std::vector<std::string>& words) {
    test::expect_error(ErrorKind::input, words, [&] { render(); });
  };
  write("metrics.jsonl", "{}\nnonsense\n{}\n");
  refuse({"metrics.jsonl", "line 2"});
  std::filesystem::remove(folder_ / "metrics.jsonl");
  write("profile.json", "[]");
  refuse({"profile.json"});
  write("config.json", "{}");
  refuse({"config.json"});
  std::filesystem::remove(folder_ / "config.json");
  refuse({"no run"});
}

}  // namespace
}  // namespace quern
