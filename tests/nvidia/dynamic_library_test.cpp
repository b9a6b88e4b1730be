#include "providers/nvidia/dynamic_library.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/io/temporary_folder.hpp"

namespace quern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

LibrarySearch search_for(const char* file) {
  return {file, "QUERN_TEST_LIBRARY_PATH", {}, "testlib", "install the test library"};
}

class Search : public ::testing::Test {
 protected:
  Search() {
    for (const char* name : {"QUERN_TEST_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"}) unsetenv(name);
    setenv("PATH", "/nowhere", 1);
    setenv("HOME", "/nowhere", 1);
  }
  test::TemporaryFolder folder_;
};

TEST_F(Search, TheLinkerComesFirstThenWhatTheBuildFound) {
  LibrarySearch search = search_for("libthing.so.9");
  search.folders = {"/opt/a", "/opt/b", "/opt/a"};
  EXPECT_THAT(library_candidates(search),
              ElementsAre("libthing.so.9", "/opt/a/libthing.so.9", "/opt/b/libthing.so.9"));
}

TEST_F(Search, TheVariableExcludesEverythingElse) {
  LibrarySearch search = search_for("libthing.so.9");
  search.folders = {"/opt/a"};
  setenv("QUERN_TEST_LIBRARY_PATH", "/x::/y", 1);
  EXPECT_THAT(library_candidates(search), ElementsAre("/x/libthing.so.9", "/y/libthing.so.9"));
}

TEST_F(Search, FindsWheelsOfThePythonOnPath) {
  const auto touch = [&](const std::string& wheel) {
    const auto at = folder_.path() / "lib/python3.11/site-packages/nvidia" / wheel / "lib";
    std::filesystem::create_directories(at);
    std::ofstream(at / "libthing.so.9") << "no library";
    return (at / "libthing.so.9").string();
  };
  const std::string own = touch("testlib"), shared = touch("cu13");
  std::filesystem::create_directories(folder_.path() / "bin");
  std::ofstream(folder_.path() / "bin/python3") << "";
  setenv("PATH", ("/nowhere:" + (folder_.path() / "bin").string()).c_str(), 1);
  EXPECT_THAT(library_candidates(search_for("libthing.so.9")), ElementsAre("libthing.so.9", own, shared));
  setenv("PATH", "/nowhere", 1);
  setenv("VIRTUAL_ENV", folder_.path().c_str(), 1);
  EXPECT_THAT(library_candidates(search_for("libthing.so.9")), ElementsAre("libthing.so.9", own, shared));
}

TEST_F(Search, SaysWhatIsMissingAndWhatToDo) {
  std::string failure;
  EXPECT_FALSE(DynamicLibrary::open(search_for("libquern-no-such.so.9"), failure));
  EXPECT_EQ(
      failure,
      "libquern-no-such.so.9 not found: install the test library, or set QUERN_TEST_LIBRARY_PATH to its "
      "folder");
  setenv("QUERN_TEST_LIBRARY_PATH", "/nonexistent", 1);
  EXPECT_FALSE(DynamicLibrary::open(search_for("libquern-no-such.so.9"), failure));
  EXPECT_EQ(failure, "libquern-no-such.so.9 not found in /nonexistent (from QUERN_TEST_LIBRARY_PATH)");
}

TEST_F(Search, ABrokenLibraryIsNotAMissingOne) {
  std::ofstream(folder_.path() / "libthing.so.9") << "no library";
  setenv("QUERN_TEST_LIBRARY_PATH", folder_.path().c_str(), 1);
  std::string failure;
  EXPECT_FALSE(DynamicLibrary::open(search_for("libthing.so.9"), failure));
  EXPECT_THAT(failure, HasSubstr("libthing.so.9 does not load: "));
}

TEST_F(Search, OpensWhatTheLinkerFinds) {
  std::string failure;
  const auto library = DynamicLibrary::open(search_for("libm.so.6"), failure);
  ASSERT_TRUE(library) << failure;
  const auto cosine = reinterpret_cast<double (*)(double)>(library->symbol("cos"));
  ASSERT_NE(cosine, nullptr);
  EXPECT_EQ(cosine(0), 1);
  EXPECT_EQ(library->symbol("no_such_function"), nullptr);
}

}  // namespace
}  // namespace quern
