#include "quern/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "tests/io/faulty_files.hpp"
#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using test::expect_error;
using test::FaultyFiles;
using test::get;
using test::put;
using test::TemporaryFolder;
using testing::ElementsAre;

std::vector<std::span<const std::byte>> three_parts(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  const std::size_t third = bytes.size() / 3;
  return {bytes.first(third), bytes.subspan(third, third), bytes.subspan(2 * third)};
}

TEST(WriteFile, CreatesAndReplaces) {
  TemporaryFolder folder;
  write_file_atomically(folder / "a.txt", "first");
  EXPECT_EQ(get(folder / "a.txt"), "first");
  write_file_atomically(folder / "a.txt", "2");
  EXPECT_EQ(get(folder / "a.txt"), "2");
  write_file_atomically(folder / "a.txt", "");
  EXPECT_EQ(get(folder / "a.txt"), "");
  EXPECT_THAT(folder.names(), ElementsAre("a.txt"));
}

TEST(WriteFile, WritesPartsInOrderThroughShortWritesAndInterruptions) {
  TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += std::to_string(i) + ",";
  FaultyFiles files;
  files.most_bytes_per_write = 7;
  files.interrupt_every = 3;
  write_file_atomically(folder / "a.txt", three_parts(text), files);
  EXPECT_EQ(get(folder / "a.txt"), text);
  EXPECT_GT(files.calls, static_cast<int>(text.size()) / 7);
}

TEST(WriteFile, SyncsBeforeTheRenameAndTheFolderAfterIt) {
  TemporaryFolder folder;
  FaultyFiles files;
  write_file_atomically(folder / "a.txt", "x", files);
  EXPECT_THAT(files.log,
              ElementsAre("open_new", "write", "sync", "close", "rename", "open_directory", "sync", "close"));
}

TEST(WriteFile, ASingleFailureAnywhereLeavesOldOrNewContentWhole) {
  const std::string old_text = "the previous checkpoint", new_text = "the next checkpoint, which is longer";
  for (const int error : {ENOSPC, EIO, EDQUOT}) {
    int failed = 0;
    for (int call = 0;; ++call) {
      SCOPED_TRACE("call " + std::to_string(call) + ", errno " + std::to_string(error));
      TemporaryFolder folder;
      put(folder / "last", old_text);
      FaultyFiles files;
      files.fail_call = call;
      files.error = error;
      bool threw = false;
      try {
        write_file_atomically(folder / "last", three_parts(new_text), files);
      } catch (const Error& e) {
        threw = true;
        EXPECT_EQ(e.kind(), ErrorKind::device);
        EXPECT_THAT(e.what(), testing::HasSubstr((folder / "last").string()));
      }
      const bool renamed =
          std::count(files.log.begin(), files.log.end(), "rename") > 0 && files.failed != "rename";
      EXPECT_EQ(get(folder / "last"), renamed ? new_text : old_text);
      EXPECT_THAT(folder.names(), ElementsAre("last"));
      EXPECT_EQ(files.open_files, 0);
      // Every call matters except closing the folder, after which nothing can go wrong any more.
      EXPECT_EQ(threw, !files.failed.empty() && call != 9) << files.failed;
      if (files.failed.empty()) break;
      ++failed;
    }
    EXPECT_EQ(failed, 10);  // open, three writes, sync, close, rename, open folder, sync, close
  }
}

TEST(WriteFile, AFailureLeavesNothingWhereNothingWas) {
  for (int call = 0; call < 7; ++call) {
    TemporaryFolder folder;
    FaultyFiles files;
    files.fail_call = call;
    expect_error(ErrorKind::device, {"new", "disk is full", "free space"},
                 [&] { write_file_atomically(folder / "new", three_parts("abcdef"), files); });
    EXPECT_THAT(folder.names(), testing::IsEmpty()) << files.failed;
  }
}

TEST(WriteFile, AFullDiskAfterAShortWriteIsReported) {
  TemporaryFolder folder;
  put(folder / "last", "old");
  FaultyFiles files;
  files.most_bytes_per_write = 4;
  files.capacity = 10;
  expect_error(ErrorKind::device, {"last", "No space left", "nothing there was changed", "free space"},
               [&] { write_file_atomically(folder / "last", "twelve bytes", files); });
  EXPECT_EQ(get(folder / "last"), "old");
  EXPECT_THAT(folder.names(), ElementsAre("last"));
}

TEST(WriteFile, AWriteThatMakesNoProgressEnds) {
  TemporaryFolder folder;
  FaultyFiles files;
  files.most_bytes_per_write = 0;
  expect_error(ErrorKind::device, {"a.txt", "check the disk"},
               [&] { write_file_atomically(folder / "a.txt", "x", files); });
}

TEST(WriteFile, AFileSystemThatCannotSyncFoldersIsFine) {
  for (const int error : {EINVAL, ENOTSUP}) {
    TemporaryFolder folder;
    FaultyFiles files;
    files.fail_call = 6;  // sync of the folder: open_new write sync close rename open_directory SYNC
    files.error = error;
    write_file_atomically(folder / "a.txt", "x", files);
    EXPECT_EQ(files.failed, "sync");
    EXPECT_EQ(get(folder / "a.txt"), "x");
  }
}

TEST(WriteFile, SaysWhatToDoAboutBadPaths) {
  TemporaryFolder folder;
  expect_error(ErrorKind::device, {"missing/a.txt", "No such file", "create the folder first"},
               [&] { write_file_atomically(folder / "missing/a.txt", "x"); });
  expect_error(ErrorKind::device, {folder.path().string(), "is a folder: name a file"},
               [&] { write_file_atomically(folder.path(), "x"); });
  expect_error(ErrorKind::device, {"/dev/null", "is a device or a pipe"},
               [&] { write_file_atomically("/dev/null", "x"); });
  write_file_atomically(folder / std::string(255, 'n'), "the longest name there is");
  expect_error(ErrorKind::device, {"shorter name"},
               [&] { write_file_atomically(folder / std::string(256, 'n'), "x"); });
  put(folder / "a.txt", "x");
  expect_error(ErrorKind::device, {"Not a directory"},
               [&] { write_file_atomically(folder / "a.txt/b", "x"); });
}

TEST(WriteFile, KeepsPermissionsAndFollowsLinks) {
  TemporaryFolder folder;
  put(folder / "real", "old");
  ASSERT_EQ(::chmod((folder / "real").c_str(), 0600), 0);
  std::filesystem::create_symlink("real", folder / "link");
  write_file_atomically(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(get(folder / "real"), "new");
  struct stat status {};
  ASSERT_EQ(::stat((folder / "real").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
}

TEST(WriteFile, LeftoversOfAKilledProcessDoNotDisturb) {
  TemporaryFolder folder;
  FaultyFiles files;
  files.names_taken = 2;  // the first two temporary names exist already
  write_file_atomically(folder / "a.txt", "x", files);
  EXPECT_EQ(get(folder / "a.txt"), "x");
}

TEST(WriteFile, WorksWithARelativePath) {
  TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file_atomically("plain", "x");
  std::filesystem::current_path(before);
  EXPECT_EQ(get(folder / "plain"), "x");
}

TEST(ReadFile, ReadsRegularFilesAndPipes) {
  TemporaryFolder folder;
  const std::string text(200'000, 'q');
  put(folder / "a", text);
  EXPECT_EQ(read_file(folder / "a", text.size()).size(), text.size());
  put(folder / "empty", "");
  EXPECT_TRUE(read_file(folder / "empty", 0).empty());

  const auto pipe = (folder / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int keep = ::open(pipe.c_str(), O_RDWR);  // so that neither end blocks
  ASSERT_GE(keep, 0);
  ASSERT_EQ(::fcntl(keep, F_SETPIPE_SZ, 1 << 18) > 0, true);
  ASSERT_EQ(::write(keep, text.data(), 100'000), 100'000);
  InputFile input(pipe);
  EXPECT_FALSE(input.size());
  ::close(keep);
  std::vector<std::byte> read(200'000);
  EXPECT_EQ(input.read(read), 100'000u);
  // A file whose size is not told in advance: read to its end, the limit is kept.
  EXPECT_GT(read_file("/proc/self/status", 1 << 20).size(), 100u);
  expect_error(ErrorKind::input, {"/proc/self/status", "the limit is 10"},
               [] { read_file("/proc/self/status", 10); });
}

TEST(ReadFile, SaysWhatIsWrong) {
  TemporaryFolder folder;
  expect_error(ErrorKind::input, {"nowhere", "No such file", "check the path"},
               [&] { read_file(folder / "nowhere", 10); });
  expect_error(ErrorKind::input, {folder.path().string(), "is a folder"},
               [&] { read_file(folder.path(), 10); });
  put(folder / "large", "0123456789a");
  expect_error(ErrorKind::input, {"large", "11 bytes", "the limit is 10"},
               [&] { read_file(folder / "large", 10); });
}

}  // namespace
}  // namespace quern
