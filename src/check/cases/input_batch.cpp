#include "check/cases/table.hpp"

namespace quern::check {
namespace {

struct Augmented {
  const char* name;
  Augment augment;
};

void add(Table& table, const Shape& images, int order_length, int batch, float mean, float stddev,
         const Augmented& augmented) {
  InputBatchAttrs attrs;
  attrs.mean = mean;
  attrs.stddev = stddev;
  attrs.augment = augmented.augment;
  table.add(fmt::format("m{}_h{}_w{}_c{}_l{}_n{}_mean{}_std{}{}", images[0], images[1], images[2], images[3],
                        order_length, batch, mean, stddev, augmented.name),
            input_batch_desc(images, order_length, batch, attrs));
}

}  // namespace

void add_input_batch_cases(Table& table) {
  const Augmented kNone{"", {}};
  const Augmented variants[] = {
      {"_shift2", {.shift = 2}},
      {"_shift0.5", {.shift = 0.5f}},
      {"_rotate15", {.rotate = 15}},
      {"_rotate180", {.rotate = 180}},
      {"_scale0.1", {.scale = 0.1f}},
      {"_scale0.5", {.scale = 0.5f}},
      {"_shear10", {.shear = 10}},
      {"_all", {.shift = 2, .rotate = 10, .scale = 0.1f, .shear = 5}},
      {"_elastic3", {.elastic = 3}},
      {"_erase9", {.erase = 9}},
      {"_erased_elastic_all",
       {.shift = 2, .rotate = 10, .scale = 0.1f, .shear = 5, .elastic = 1.5f, .erase = 6}},
      {"_flip0.5", {.flip = 0.5f}},
      {"_flip1", {.flip = 1}},
      {"_crop2", {.crop = 2}},
      {"_flipped_all",
       {.shift = 2, .rotate = 10, .scale = 0.1f, .shear = 5, .elastic = 1.5f, .erase = 6, .flip = 0.5f}},
      {"_cropped_all", {.shift = 1, .rotate = 10, .scale = 0.1f, .erase = 6, .flip = 0.5f, .crop = 3}}};
  // MNIST's shape, with the usual normalisations.
  for (const int n : {1, 2, 3, 7, 16, 31, 33, 64}) {
    add(table, {40, 28, 28, 1}, 100, n, 0, 1, kNone);
    add(table, {40, 28, 28, 1}, 100, n, 0.1307f, 0.3081f, kNone);
  }
  for (const Augmented& variant : variants)
    for (const int n : {1, 5, 16}) {
      add(table, {40, 28, 28, 1}, 100, n, 0, 1, variant);
      add(table, {40, 28, 28, 1}, 100, n, 0.1307f, 0.3081f, variant);
    }
  // Colour, extents of one, odd widths, data sets of one image.
  for (const Shape& images :
       {Shape{9, 32, 32, 3}, Shape{5, 1, 1, 1}, Shape{1, 5, 7, 1}, Shape{3, 1, 9, 2}, Shape{7, 13, 1, 1},
        Shape{300, 3, 5, 1}, Shape{11, 17, 15, 4}, Shape{6, 9, 31, 1}}) {
    add(table, images, 17, 5, 0, 1, kNone);
    add(table, images, 17, 17, 0.5f, 0.25f, kNone);
    for (const Augmented& variant : variants) add(table, images, 17, 3, 0.5f, 0.25f, variant);
  }
  for (const int t : kTileSizes) {
    add(table, {4, 3, t, 1}, 12, 3, 0.5f, 0.25f, kNone);
    add(table, {4, 3, t, 1}, 12, 3, 0.5f, 0.25f, variants[7]);
  }
}

}  // namespace quern::check
