#include "quern/image.hpp"
#include "tests/cli/cli_fixture.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;
using DataCommand = test::Cli;

TEST_F(DataCommand, DescribesASet) {
  const test::Outcome outcome = quern({"data", "--data", "data"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  for (const char* part : {"8x8x1", "4 classes", "north-west", "200", "60"})
    EXPECT_THAT(outcome.out, HasSubstr(part));
  const nlohmann::json json = last_line_json(quern({"data", "--data", "data", "--json"}));
  EXPECT_EQ(json["train"]["images"], 200);
  EXPECT_EQ(json["test"]["images"], 60);
  EXPECT_EQ(json["classes"][1]["class"], "north-east");
  EXPECT_EQ(json["classes"][1]["train"], 50);
  EXPECT_EQ(json["classes"][1]["test"], 15);
  const Split split = test::small_images(200);
  EXPECT_EQ(json["train"]["mean"], pixel_statistics(split.images).mean);
  EXPECT_NE(json["train"]["images_crc32"], json["test"]["images_crc32"]);
}

TEST_F(DataCommand, DrawsWhatTheNetworkSees) {
  const std::vector<std::string> words{"data",      "--data",    "data",     "--model", "small.json",
                                       "--preview", "sheet.png", "--images", "5",       "--draws",
                                       "3",         "--zoom",    "2"};
  const test::Outcome plain = quern(words);
  EXPECT_EQ(plain.status, 0) << plain.err;
  EXPECT_THAT(plain.out, HasSubstr("augments nothing"));
  const GrayImage sheet = load_image(folder_ / "sheet.png");
  EXPECT_EQ(sheet.width, 3 + 4 * (16 + 3) + 6);
  EXPECT_EQ(sheet.height, 3 + 5 * (16 + 3));
  auto augmented = words;
  augmented.insert(augmented.end(), {"--augment-shift", "2"});
  const test::Outcome shifted = quern(augmented);
  EXPECT_EQ(shifted.status, 0) << shifted.err;
  EXPECT_THAT(shifted.out, Not(HasSubstr("augments nothing")));
  EXPECT_NE(load_image(folder_ / "sheet.png").pixels, sheet.pixels);
}

TEST_F(DataCommand, RefusesBadInput) {
  expect_bad_usage({"data", "--data", "nowhere"}, {"nowhere"});
  expect_bad_usage({"data", "--data", "data", "--preview", "x.png"}, {"8x8x1", "28x28x1"});
  const auto preview = [&](const char* flag, const char* value) {
    expect_bad_usage({"data", "--data", "data", "--model", "small.json", "--preview", "x.png", flag, value},
                     {flag});
  };
  preview("--images", "0");
  preview("--draws", "101");
  preview("--zoom", "0");
  preview("--validation", "200");
  expect_bad_usage({"data", "--previw", "x.png"}, {"did you mean '--preview'?"});
  expect_bad_usage({"dta"}, {"did you mean 'data'?"});
}

}  // namespace
}  // namespace quern
