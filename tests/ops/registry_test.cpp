#include <gtest/gtest.h>

#include "quern/error.hpp"
#include "quern/implementation.hpp"

namespace quern {
namespace {

constexpr OpKey kRelu{OpKind::relu, Direction::forward};

Implementation implementation(std::string name, Provider provider, DeviceKind device = DeviceKind::cpu) {
  return {std::move(name),
          provider,
          kRelu,
          device,
          [](const OpDesc&, const DeviceInfo&) { return Refusal(); },
          [](const OpDesc& desc, Device&) -> std::unique_ptr<Executable> {
            return std::make_unique<FunctionExecutable>(
                desc, [](const OpDesc&, const RunArgs&) {}, 64);
          }};
}

TEST(Registry, KeepsTheOrderOfPreference) {
  Registry registry;
  registry.add(implementation("fast", Provider::custom));
  registry.add(implementation("naive", Provider::reference));
  const auto table = registry.candidates(kRelu);
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table[0].full_name(), "custom:fast");
  EXPECT_EQ(table[1].full_name(), "reference:naive");
  EXPECT_TRUE(registry.candidates({OpKind::relu, Direction::backward}).empty());
}

TEST(Registry, OneNameServesSeveralDevicesOnce) {
  Registry registry;
  registry.add(implementation("tiled", Provider::custom, DeviceKind::cuda));
  registry.add(implementation("tiled", Provider::custom, DeviceKind::emu));
  EXPECT_EQ(registry.candidates(kRelu).size(), 2u);
  EXPECT_THROW(registry.add(implementation("tiled", Provider::custom, DeviceKind::emu)), Error);
}

TEST(Registry, RefusesAnEntryWithoutFunctions) {
  Registry registry;
  Implementation entry = implementation("hollow", Provider::user);
  entry.prepare = nullptr;
  EXPECT_THROW(registry.add(entry), Error);
}

TEST(FunctionExecutable, PassesItsDescriptionOn) {
  OpDesc desc;
  desc.op = kRelu;
  OpKey seen{OpKind::conv2d, Direction::forward};
  FunctionExecutable executable(
      desc, [&](const OpDesc& d, const RunArgs&) { seen = d.op; }, 64);
  EXPECT_EQ(executable.workspace_bytes(), 64u);
  executable.run({});
  EXPECT_EQ(seen, kRelu);
}

TEST(Registry, WhoDoesNotKnowMergedNodesRefusesThem) {
  Registry registry;
  const OpKey conv{OpKind::conv2d, Direction::forward};
  const auto add = [&](const char* name, bool merges) {
    Implementation implementation;
    implementation.name = name;
    implementation.op = conv;
    implementation.refusal = [](const OpDesc&, const DeviceInfo&) { return Refusal{}; };
    implementation.prepare = [](const OpDesc&, Device&) -> std::unique_ptr<Executable> { return nullptr; };
    implementation.merges = merges;
    registry.add(std::move(implementation));
  };
  add("old", false);
  add("new", true);
  OpDesc desc{conv, Conv2dAttrs{}, {}, {}};
  EXPECT_FALSE(registry.candidates(conv)[0].refusal(desc, {}));
  std::get<Conv2dAttrs>(desc.attrs).gather = true;
  EXPECT_TRUE(registry.candidates(conv)[0].refusal(desc, {}));
  EXPECT_FALSE(registry.candidates(conv)[1].refusal(desc, {}));
}

}  // namespace
}  // namespace quern
