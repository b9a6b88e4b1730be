#include "io/text.hpp"

#include <gtest/gtest.h>

namespace quern {
namespace {

TEST(QuoteText, KeepsPlainTextAndUtf8) {
  EXPECT_EQ(quote_text("conv1.weight"), "'conv1.weight'");
  EXPECT_EQ(quote_text("größe"), "'größe'");
  EXPECT_EQ(quote_text(""), "''");
}

TEST(QuoteText, EscapesWhatCouldForgeLinesOrDriveATerminal) {
  EXPECT_EQ(quote_text("a\nb\r\t\x7F"), "'a\\x0ab\\x0d\\x09\\x7f'");
  EXPECT_EQ(quote_text("\x1B[2J"), "'\\x1b[2J'");
  EXPECT_EQ(quote_text("\xC2\x9B"
                       "2J"),
            "'\\xc2\\x9b2J'");  // CSI as one C1 character
  EXPECT_EQ(quote_text("\xC2"), "'\xC2'");
}

TEST(QuoteText, ShortensWithoutCuttingACharacter) {
  EXPECT_EQ(quote_text("abcdef", 4), "'abcd...'");
  EXPECT_EQ(quote_text("abcd", 4), "'abcd'");
  EXPECT_EQ(quote_text("abcö", 4), "'abc...'");
  EXPECT_EQ(quote_text("\x80\x80\x80", 2), "'...'");
}

}  // namespace
}  // namespace quern
