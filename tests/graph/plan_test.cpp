#include "quern/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/arena.hpp"
#include "quern/error.hpp"
#include "quern/philox.hpp"
#include "tests/graph/harness.hpp"

namespace quern {
namespace {

using testing::HasSubstr;

TEST(Arena, ValuesAliveTogetherNeverOverlap) {
  for (std::uint32_t trial = 0; trial < 200; ++trial) {
    std::vector<ArenaRequest> requests;
    const auto number = [&](std::uint32_t i, std::uint32_t bound) {
      return philox_u32(trial, RandomPurpose::test, 0, 0, i) % bound;
    };
    const std::uint32_t count = 1 + number(0, 40);
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto first = static_cast<NodeId>(number(3 * i + 1, 30));
      requests.push_back(
          {number(3 * i + 2, 5000), {first, first + static_cast<NodeId>(number(3 * i + 3, 10))}});
    }
    std::size_t sum = 0, peak = 0;
    for (NodeId node = 0; node < 40; ++node) {
      std::size_t alive = 0;
      for (const ArenaRequest& r : requests)
        if (r.life.first <= node && node <= r.life.last) alive += r.bytes;
      peak = std::max(peak, alive);
    }
    const ArenaLayout layout = plan_arena(requests, true);
    for (std::size_t a = 0; a < requests.size(); ++a) {
      sum += (requests[a].bytes + 255) / 256 * 256;
      EXPECT_EQ(layout.offsets[a] % 256, 0u);
      EXPECT_LE(layout.offsets[a] + requests[a].bytes, layout.bytes);
      for (std::size_t b = 0; b < a; ++b)
        if (requests[a].life.overlaps(requests[b].life) && requests[a].bytes && requests[b].bytes) {
          EXPECT_TRUE(layout.offsets[a] + requests[a].bytes <= layout.offsets[b] ||
                      layout.offsets[b] + requests[b].bytes <= layout.offsets[a]);
        }
    }
    EXPECT_LE(layout.bytes, sum);
    EXPECT_GE(layout.bytes, peak);
    EXPECT_EQ(plan_arena(requests, false).bytes, sum);
  }
}

TEST(Plan, ReusesMemoryAndSaysHowMuch) {
  const Registry registry = test::reference_registry();
  const Plan plan =
      make_plan(build_graph(load_model_spec("seed-bn"), {}), registry, open_device("cpu")->info());
  EXPECT_LT(plan.arena_bytes, plan.transient_bytes);
  const std::string text = format_plan(plan);
  EXPECT_THAT(text, HasSubstr("conv1.forward"));
  EXPECT_THAT(text, HasSubstr("reference:naive"));
  EXPECT_THAT(text, HasSubstr("arena"));
}

/// A registry with a picky implementation in front of the reference.
Registry picky_registry() {
  Registry registry;
  registry.add({"picky",
                Provider::user,
                {OpKind::relu, Direction::forward},
                DeviceKind::cpu,
                [](const OpDesc&, const DeviceInfo&) -> Refusal { return "wants a moonless night"; },
                [](const OpDesc&, Device&) -> std::unique_ptr<Executable> { return nullptr; }});
  add_reference(registry);
  return registry;
}

Graph unfused_mlp() {
  GraphOptions options;
  options.fuse = false;
  return build_graph(load_model_spec("mlp"), options);
}

TEST(Plan, KeepsTheReasonsOfThoseWhoRefused) {
  const Registry registry = picky_registry();
  const Plan plan = make_plan(unfused_mlp(), registry, open_device("cpu")->info());
  EXPECT_THAT(format_plan(plan), HasSubstr("refused: user:picky: wants a moonless night"));
}

std::string plan_error(const Registry& registry, const std::string& impl) {
  try {
    make_plan(unfused_mlp(), registry, open_device("cpu")->info(), {{parse_impl_choice(impl)}, true});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "no error";
}

TEST(Plan, AForcedImplementationThatRefusesIsAnErrorWithItsReason) {
  const Registry registry = picky_registry();
  EXPECT_THAT(plan_error(registry, "relu.forward=user:picky"), HasSubstr("wants a moonless night"));
  EXPECT_THAT(plan_error(registry, "relu=user:piky"), HasSubstr("did you mean 'user:picky'?"));
  EXPECT_THAT(plan_error(registry, "rellu=reference"), HasSubstr("did you mean 'relu'?"));
  EXPECT_THAT(plan_error(registry, "relu="), HasSubstr("--impl"));
  EXPECT_EQ(plan_error(registry, "relu.forward=reference"), "no error");
  EXPECT_EQ(plan_error(registry, "reference"), "no error");
}

TEST(Plan, FewLaunchesAreForDevicesThatLaunch) {
  DeviceInfo device;
  EXPECT_FALSE(wants_few_launches(device, {}));
  for (const DeviceKind kind : {DeviceKind::emu, DeviceKind::cuda}) {
    device.kind = kind;
    EXPECT_TRUE(wants_few_launches(device, {}));
    EXPECT_TRUE(wants_few_launches(device, {parse_impl_choice("conv2d=reference")}));
    EXPECT_FALSE(wants_few_launches(device, {parse_impl_choice("dense.backward_data=reference")}));
    EXPECT_FALSE(wants_few_launches(device, {parse_impl_choice("conv2d.backward_weights=reference")}));
  }
}

/// An implementation for the halves of dense.backward that leaves its name in what it writes.
Implementation marked(const char* name, Direction direction, float mark, bool refuses) {
  Implementation made;
  made.name = name;
  made.provider = Provider::user;
  made.op = {OpKind::dense, direction};
  made.refusal = [refuses](const OpDesc&, const DeviceInfo&) -> Refusal {
    return refuses ? Refusal("not today") : std::nullopt;
  };
  made.launches = [](const OpDesc&, const DeviceInfo&) { return 3; };
  made.prepare = [mark](const OpDesc& desc, Device&) -> std::unique_ptr<Executable> {
    validate(desc);
    return std::make_unique<FunctionExecutable>(
        desc,
        [mark](const OpDesc& d, const RunArgs& args) {
          for (std::size_t i = 0; i < args.out.size(); ++i)
            *static_cast<float*>(args.out[i]) = mark + static_cast<float>(10 * i + args.in.size());
          EXPECT_EQ(args.in.size(), d.inputs.size());
        },
        64);
  };
  return made;
}

TEST(Pair, ServesBothGradientsByTheFirstOfEachThatDoesNotRefuse) {
  const auto device = open_device("cpu", 1);
  DenseAttrs attrs;
  attrs.bias = attrs.mask = true;
  const TensorDesc x{DType::f32, {5, 12}}, w{DType::f32, {3, 12}}, y{DType::f32, {5, 3}}, b{DType::f32, {3}};
  const OpDesc desc{{OpKind::dense, Direction::backward}, attrs, {y, x, w}, {x, w, b}};
  Registry registry;
  registry.add(marked("picky", Direction::backward_data, 100, true));
  registry.add(marked("data", Direction::backward_data, 200, false));
  add_backward_pairs(registry, Provider::user, DeviceKind::cpu);
  EXPECT_TRUE(registry.candidates(desc.op).empty()) << "half a pair is none";
  registry.add(marked("weights", Direction::backward_weights, 400, false));
  add_backward_pairs(registry, Provider::user, DeviceKind::cpu);
  ASSERT_EQ(registry.candidates(desc.op).size(), 1u);
  const Implementation& pair = registry.candidates(desc.op)[0];
  EXPECT_EQ(pair.full_name(), "user:pair");
  EXPECT_FALSE(pair.refusal(desc, device->info()));
  EXPECT_EQ(pair.launches(desc, device->info()), 6);
  const auto executable = pair.prepare(desc, *device);
  EXPECT_EQ(executable->workspace_bytes(), 64u);
  float in[3] = {}, dx = 0, dw = 0, dbias = 0;
  void* const ins[] = {&in[0], &in[1], &in[2]};
  void* const outs[] = {&dx, &dw, &dbias};
  executable->run({ins, outs, nullptr, {}});
  EXPECT_EQ(dx, 203.0f) << "dy, w and the mask";
  EXPECT_EQ(dw, 402.0f);
  EXPECT_EQ(dbias, 412.0f);

  Registry refusing;
  refusing.add(marked("data", Direction::backward_data, 0, false));
  refusing.add(marked("weights", Direction::backward_weights, 0, true));
  add_backward_pairs(refusing, Provider::user, DeviceKind::cpu);
  const Refusal refusal = refusing.candidates(desc.op)[0].refusal(desc, device->info());
  ASSERT_TRUE(refusal);
  EXPECT_EQ(*refusal, "weights for backward_weights: not today");
}

TEST(Plan, AChoiceForEverythingIsAPreference) {
  Registry registry = picky_registry();
  registry.add({"willing",
                Provider::user,
                {OpKind::relu, Direction::backward},
                DeviceKind::cpu,
                [](const OpDesc&, const DeviceInfo&) -> Refusal { return {}; },
                [](const OpDesc&, Device&) -> std::unique_ptr<Executable> { return nullptr; }});
  const Plan plan =
      make_plan(unfused_mlp(), registry, open_device("cpu")->info(), {{parse_impl_choice("user")}, true});
  for (const PlannedNode& node : plan.nodes) {
    const bool refused = node.desc.op == OpKey{OpKind::relu, Direction::forward};
    const bool served = node.desc.op == OpKey{OpKind::relu, Direction::backward};
    EXPECT_EQ(node.implementation->full_name(), served ? "user:willing" : "reference:naive");
    EXPECT_EQ(node.refusals.size(), refused ? 1u : 0u);
  }
}

TEST(Executor, AMissingBindingIsNamed) {
  const Registry registry = test::reference_registry();
  const auto device = open_device("cpu");
  Executor executor(make_plan(build_graph(load_model_spec("mlp"), {}), registry, device->info()), *device);
  try {
    executor.bind({});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("nothing is bound to it"));
  }
}

TEST(Executor, AFailureNamesNodeAndImplementation) {
  Registry registry;
  registry.add({"broken",
                Provider::user,
                {OpKind::softmax_xent, Direction::forward},
                DeviceKind::cpu,
                [](const OpDesc&, const DeviceInfo&) -> Refusal { return {}; },
                [](const OpDesc& desc, Device&) -> std::unique_ptr<Executable> {
                  return std::make_unique<FunctionExecutable>(
                      desc, [](const OpDesc&, const RunArgs&) { fail_device("the disk is on fire"); });
                }});
  add_reference(registry);
  test::Harness harness(load_model_spec("mlp"), {.batch = 2}, registry);
  try {
    harness.run();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(),
                testing::AllOf(HasSubstr("loss.forward"), HasSubstr("user:broken"), HasSubstr("fire")));
  }
}

}  // namespace
}  // namespace quern
