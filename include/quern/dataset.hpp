#pragma once

/// Labelled image sets, and the orders their images are visited in.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// Images and their classes. `images` is u8 NHWC: count * height * width * channels values, one image after
/// the other.
struct Split {
  std::vector<std::uint8_t> images;
  std::vector<std::uint8_t> labels;  ///< count values in 0 .. classes-1
  std::int64_t count = 0, height = 0, width = 0, channels = 0;

  std::int64_t pixels_per_image() const noexcept { return height * width * channels; }
  /// One image; `index` in 0 .. count-1.
  std::span<const std::uint8_t> image(std::int64_t index) const {
    return std::span(images).subspan(static_cast<std::size_t>(index * pixels_per_image()),
                                     static_cast<std::size_t>(pixels_per_image()));
  }
};

struct Dataset {
  std::string name;            ///< "mnist", "fashion-mnist", or the folder's name
  std::filesystem::path path;  ///< the folder its files were read from
  Split train, test;           ///< images of one size
  int classes = 0;
  std::vector<std::string> class_names;  ///< one for each class
};

/// Loads a set by its name or from a folder.
///
///   "mnist"          the copy in data/mnist: looked for under $QUERN_DATA, ./data, beside the program
///                    (../data, ../share/quern) and in the tree the program was built from
///   "fashion-mnist"  the same places, then those of Debian's package dataset-fashion-mnist
///   DIR              a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte
///   and
///                    t10k-labels-idx1-ubyte, each plain or with .gz; a dot may stand before "idx". Images
///                    may have rank 3 (N,H,W: one channel) or 4 (N,H,W,C). A file classes.txt, one name a
///                    line, says which classes there are; without it there are ten, "0" to "9".
///
/// Throws an input error that names the file, what was expected and found, and what to do.
Dataset load_dataset(std::string_view spec);

/// Mean and standard deviation of pixel / 255 over all values; exact sums, so the same everywhere.
struct PixelStatistics {
  double mean = 0, stddev = 0;
};
PixelStatistics pixel_statistics(std::span<const std::uint8_t> pixels);

/// A training set in two disjoint parts, each in ascending order.
struct Partition {
  std::vector<std::uint32_t> train, validation;
};

/// Holds `validation_count` of the images 0 .. count-1 out of training; every subset of that size is equally
/// likely over seeds. They are the first of a shuffled order (see shuffled_order) drawn with
/// RandomPurpose::split, step 0. Throws an input error unless 0 <= validation_count < count < 2^32.
Partition split_train_validation(std::int64_t count, std::int64_t validation_count, std::uint64_t seed);

/// `indices` in the random order of an epoch: every permutation is equally likely over seeds and epochs, up
/// to the 64 bits of the seed. It depends on the arguments alone.
///
/// Fisher-Yates from the last position down: position i changes places with j, uniform in 0 .. i. With
/// r = philox_u32(seed, RandomPurpose::shuffle, attempt, epoch, i), j is the high word of r * (i + 1); an r
/// whose low word is below 2^32 mod (i + 1) would favour some j and is drawn again with the next attempt,
/// from 0 on. Source: Lemire, "Fast random integer generation in an interval", ACM TOMACS 2019.
std::vector<std::uint32_t> shuffled_order(std::span<const std::uint32_t> indices, std::uint64_t seed,
                                          std::uint32_t epoch);

}  // namespace quern
