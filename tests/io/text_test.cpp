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
  EXPECT_EQ(quote_text("a\nb\r\t\x7F"), "'a\\nb\\x0d\\t\\x7f'");
  EXPECT_EQ(quote_text("\x1B[2J"), "'\\x1b[2J'");
  EXPECT_EQ(quote_text("\xC2\x9B"
                       "2J"),
            "'\\x9b2J'");  // CSI as one C1 character
  EXPECT_EQ(quote_text("\xC2"), "'\\xc2'");
}

TEST(QuoteText, ShortensWithoutCuttingACharacter) {
  EXPECT_EQ(quote_text("abcdef", 4), "'abcd...'");
  EXPECT_EQ(quote_text("abcd", 4), "'abcd'");
  EXPECT_EQ(quote_text("abcö", 4), "'abc...'");
  EXPECT_EQ(quote_text("\x80\x80\x80", 2), "'...'");
}

TEST(Printable, MakesControlCharactersVisible) {
  EXPECT_EQ(printable("plain text, \u00e9 \u4e2d"), "plain text, \u00e9 \u4e2d");
  EXPECT_EQ(printable("a\tb\nc\x1b[31m\x7f"), "a\\tb\\nc\\x1b[31m\\x7f");
  EXPECT_EQ(printable(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\x9b31m");  // CSI as one character of C1
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "x"),
            "\\u202ex");                                    // text from right to left
  EXPECT_EQ(printable("\xff\xc3"), "\\xff\\xc3");           // no UTF-8
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate is none either
  EXPECT_EQ(printable("\xc0\x8a"), "\\xc0\\x8a");           // nor a newline in two bytes
}

TEST(Printable, ShortensWithoutCuttingACharacter) {
  EXPECT_EQ(printable("abcdef", 4), "abcd...");
  EXPECT_EQ(printable("abcd", 4), "abcd");
  EXPECT_EQ(printable("abcd\u00e9", 5), "abcd...");
}

TEST(FirstCharacter, TakesTheFirstAndLastOfEveryLength) {
  const auto expect = [](std::string_view text, char32_t code) {
    const Utf8Character character = first_character(text);
    EXPECT_TRUE(character.valid);
    EXPECT_EQ(character.code, code);
    EXPECT_EQ(character.bytes, text.size());
  };
  expect(std::string_view("\0", 1), 0);
  expect("\x7f", 0x7F);
  expect("\u0080", 0x80);
  expect("\u07ff", 0x7FF);
  expect("\u0800", 0x800);
  expect("\uffff", 0xFFFF);
  expect("\U00010000", 0x10000);
  expect("\U0010ffff", 0x10FFFF);
}

TEST(FirstCharacter, TakesNothingElse) {
  for (const std::string_view text :
       {"\x80", "\xc1\xbf", "\xc3", "\xc3x", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xef\xbf",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "\xff"}) {
    const Utf8Character character = first_character(text);
    EXPECT_FALSE(character.valid) << printable(text);
    EXPECT_EQ(character.bytes, 1u) << printable(text);
  }
}

TEST(ShellWord, QuotesWhereItMust) {
  EXPECT_EQ(shell_word("--set=layers.conv1.filters=16"), "--set=layers.conv1.filters=16");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("two words"), "'two words'");
  EXPECT_EQ(shell_word("$HOME/*"), "'$HOME/*'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
}

TEST(WithCommas, GroupsThousands) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(-100), "-100");
  EXPECT_EQ(with_commas(-1000), "-1,000");
  EXPECT_EQ(with_commas(-123456), "-123,456");
  EXPECT_EQ(with_commas(1234567), "1,234,567");
}

}  // namespace
}  // namespace quern
