// The worked example of kernels/README.md: the page shows these very files, and they do what it says.

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "quern/check.hpp"
#include "quern/implementation.hpp"
#include "tests/train/small_world.hpp"

namespace quern {

void add_tiled_dense(Registry& registry);

namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(QUERN_SOURCE_DIR "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Example, ThePageShowsTheFiles) {
  const std::string page = text_of("kernels/README.md");
  for (const std::string file :
       {"kernels/tiled_dense.cuh", "kernels/tiled_dense.cu", "src/providers/custom/tiled_dense.cpp"}) {
    const std::string code = text_of("tests/kernel_example/" + file);
    ASSERT_FALSE(code.empty()) << file;
    EXPECT_NE(page.find("```cpp\n" + code + "```"), std::string::npos)
        << file << " differs from what kernels/README.md shows";
  }
}

class ExampleKernel : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { extend_registries(add_tiled_dense); }

  static CheckOptions options() {
    CheckOptions options;
    options.device = "emu";
    options.op = "dense.forward";
    options.implementation = "custom:tiled";
    options.threads = 1;
    return options;
  }
};

TEST_F(ExampleKernel, PassesTheCheck) {
  const CheckReport report = run_checks(Registry::with_all_providers(), options());
  EXPECT_EQ(report.exit_status(), 0) << format_report(report);
  EXPECT_GT(report.count(CheckStatus::pass), 20u);
}

#if defined(QUERN_HAVE_RACES)
TEST_F(ExampleKernel, HasNoRaces) {
  CheckOptions racing = options();
  racing.races = true;
  racing.shard_count = 4;
  const CheckReport report = run_checks(Registry::with_all_providers(), racing);
  EXPECT_EQ(report.exit_status(), 0) << format_report(report);
  EXPECT_GT(report.count(CheckStatus::pass), 5u);
}
#endif

TEST_F(ExampleKernel, Trains) {
  SessionOptions emulated = test::cpu({"dense.forward=custom:tiled"});
  emulated.device = "emu";
  const ModelSpec model =
      test::linear_model(R"({"epochs": 2, "batch_size": 8, "optimizer": "sgd", "learning_rate": 0.5})");
  const Split data = test::small_images(32);

  test::SmallRun ours(model, data, {}, emulated);
  test::Recorder losses;
  ours.train(losses);
  test::SmallRun reference(model, data, {}, test::cpu({"reference"}));
  test::Recorder expected;
  reference.train(expected);

  ASSERT_EQ(losses.epochs.size(), 2u);
  ASSERT_EQ(expected.epochs.size(), 2u);
  for (std::size_t epoch = 0; epoch < 2; ++epoch)
    EXPECT_NEAR(losses.epochs[epoch].train_loss, expected.epochs[epoch].train_loss, 1e-5);
  EXPECT_LT(losses.epochs[1].train_loss, losses.epochs[0].train_loss);
}

}  // namespace
}  // namespace quern
