// What holds of every operation alike.

#include <omp.h>

#include <cmath>

#include "harness.hpp"
#include "ops/slots.hpp"
#include "providers/reference/reference.hpp"
#include "quern/implementation.hpp"
#include "tests/ops/valid_descs.hpp"

namespace quern::testing {
namespace {

/// Fills every input with plausible values: indices in range, variances positive.
void fill(Call& call) {
  const OpDesc& desc = call.desc();
  const SlotLists slots = slots_of(desc);
  std::uint64_t seed = 0;
  for (std::size_t i = 0; i < slots.inputs.size(); ++i) {
    const std::string_view name = slots.inputs[i].name;
    const std::int64_t count = desc.inputs[i].elements();
    ++seed;
    if (name == "step") {
      StepScalars step;
      step.seed = 99;
      step.step = 3;
      step.learning_rate = 0.25f;
      step.ema_decay = 0.75f;
      call.set_step(step);
    } else if (name == "labels" || name == "order" || name == "argmax") {
      Values values = random_values(count, seed, 0, 4);
      for (double& value : values) value = std::floor(value);
      call.set(name, values);
    } else if (name == "images" || name == "steps") {
      call.set(name, random_values(count, seed, 0, 256));
    } else if (name == "running_var" || name == "stats" || name == "saved" || name == "slot2") {
      call.set(name, random_values(count, seed, 0.5, 1));
    } else {
      call.set(name, random_values(count, seed));
    }
  }
}

TEST(Reference, ServesEveryOperationOnTheCpuAlone) {
  Registry registry;
  add_reference(registry);
  DeviceInfo cpu, emu, cuda;
  emu.kind = DeviceKind::emu;
  cuda.kind = DeviceKind::cuda;
  for (const OpDesc& desc : all_valid_descs()) {
    const auto table = registry.candidates(desc.op);
    ASSERT_EQ(table.size(), 1u) << to_string(desc.op);
    EXPECT_EQ(table[0].full_name(), "reference:naive");
    EXPECT_FALSE(table[0].refusal(desc, cpu).has_value());
    EXPECT_TRUE(table[0].refusal(desc, emu).has_value());
    EXPECT_TRUE(table[0].refusal(desc, cuda).has_value());
  }
}

TEST(Reference, TheRegisteredExecutableIsTheReference) {
  const auto device = open_device("cpu");
  Registry registry;
  add_reference(registry);
  const OpDesc desc = relu_desc(Direction::forward);
  const auto executable = registry.candidates(desc.op)[0].prepare(desc, *device);
  EXPECT_EQ(executable->workspace_bytes(), 0u);
  std::vector<float> x(60, -1.0f), y(60, 7.0f);
  x[3] = 2;
  void* in[] = {x.data()};
  void* out[] = {y.data()};
  executable->run({in, out, nullptr, {}});
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], i == 3 ? 2.0f : 0.0f);
}

TEST(Reference, WritesEveryOutputElementWhateverWasThere) {
  for (const OpDesc& desc : all_valid_descs()) {
    Call a(desc, Storage::single, 0xFF), b(desc, Storage::single, 0x11);
    fill(a);
    fill(b);
    EXPECT_EQ(a.run().output_bytes(), b.run().output_bytes()) << describe(desc);
  }
}

TEST(Reference, ThreadsDoNotChangeABit) {
  const int before = omp_get_max_threads();
  for (const OpDesc& desc : all_valid_descs()) {
    std::vector<std::uint8_t> alone;
    for (const int threads : {1, 2, 3, 7}) {
      omp_set_num_threads(threads);
      Call call(desc, Storage::single);
      fill(call);
      const std::vector<std::uint8_t> bytes = call.run().output_bytes();
      if (threads == 1) alone = bytes;
      EXPECT_TRUE(bytes == alone) << describe(desc) << " with " << threads << " threads";
    }
  }
  omp_set_num_threads(before);
}

TEST(Reference, DoubleAndSingleStorageAgree) {
  for (const OpDesc& desc : all_valid_descs()) {
    Call single(desc, Storage::single), full(desc, Storage::full);
    fill(single);
    fill(full);
    single.run();
    full.run();
    for (const Slot& slot : slots_of(desc).outputs)
      if (slot.type != SlotType::u8)
        expect_near(single.get(slot.name), full.get(slot.name), 1e-5, describe(desc) + " " + slot.name);
  }
}

TEST(Reference, Bf16ActivationsAreServedByEveryOperation) {
  for (const OpDesc& desc : all_valid_descs()) {
    const SlotLists slots = slots_of(desc);
    OpDesc half = desc;
    half.precision = Precision::bf16;
    for (std::size_t i = 0; i < slots.inputs.size(); ++i)
      if (slots.inputs[i].type == SlotType::activation) half.inputs[i].dtype = DType::bf16;
    for (std::size_t i = 0; i < slots.outputs.size(); ++i)
      if (slots.outputs[i].type == SlotType::activation) half.outputs[i].dtype = DType::bf16;

    Call rounded(half, Storage::single), exact(desc, Storage::single);
    fill(rounded);
    fill(exact);
    // The same inputs for both: those that bf16 can hold.
    for (const Slot& slot : slots.inputs)
      if (slot.type == SlotType::activation) exact.set(slot.name, rounded.get(slot.name));
    rounded.run();
    exact.run();
    for (const Slot& slot : slots.outputs)
      if (slot.type != SlotType::u8)
        expect_near(rounded.get(slot.name), exact.get(slot.name), 0.01, describe(half) + " " + slot.name);
  }
}

}  // namespace
}  // namespace quern::testing
