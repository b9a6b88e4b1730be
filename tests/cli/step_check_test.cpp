#include "cli/step_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "providers/reference/reference.hpp"
#include "quern/error.hpp"
#include "tests/train/small_world.hpp"

namespace quern {
namespace {

using testing::HasSubstr;
using testing::Not;

void add_wrong(Registry& registry) {
  Implementation wrong;
  wrong.name = "wrong";
  wrong.provider = Provider::user;
  wrong.op = {OpKind::dense, Direction::backward_data};
  wrong.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal(); };
  wrong.prepare = [](const OpDesc& desc, Device&) {
    return std::make_unique<FunctionExecutable>(desc, [](const OpDesc& d, const RunArgs& args) {
      reference::run<float>(d, args);
      static_cast<float*>(args.out[0])[2] = 5;
    });
  };
  registry.add(std::move(wrong));
}

TEST(StepCheck, ShowsAndKeepsWhatEndedTheRun) {
  extend_registries(add_wrong);
  const Split data = test::small_images(32);
  test::SmallRun run(test::small_model(R"({"epochs": 1, "batch_size": 16})"), data, {},
                     test::cpu({"dense.backward_data=user:wrong"}));
  const cli::StepCheck check(run.session, run.trainer, 1);
  EXPECT_THROW(run.train(), Error);
  const nlohmann::json json = check.json();
  EXPECT_EQ(json["every"], 1);
  EXPECT_EQ(json["steps"], 1);
  EXPECT_EQ(json["failure"]["node"], "logits.backward_data");
  EXPECT_EQ(json["failure"]["implementation"], "user:wrong");
  EXPECT_EQ(json["failure"]["element"]["index"], "[0,2]");
  EXPECT_EQ(json["failure"]["element"]["got"], 5);
  EXPECT_EQ(json["nodes"].back()["node"], "logits.backward_data");
  EXPECT_GT(json["nodes"].back()["worst"], 1);
  const std::string table = check.table();
  EXPECT_THAT(table, HasSubstr("user:wrong"));
  EXPECT_THAT(table, Not(HasSubstr("inside tolerance")));
}

}  // namespace
}  // namespace quern
