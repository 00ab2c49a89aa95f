#pragma once

#include <string>
#include <string_view>

namespace postern::doctor {

/// Whose and where, for the words of a remedy.
struct Place {
  std::string role;    // of this machine; may be empty
  std::string name;    // of this machine; may be empty
  std::string config;  // its file, or where it would be
  std::string state;   // its folder, or where it would be
  std::string parent;  // the other side's name; empty for what is wrong here alone
  std::string where;   // "192.0.2.1:5723", of the other side
};

/// Words that end with "; run: COMMAND", apart: the words, and "run: COMMAND".
struct WordsAndFix {
  std::string words, fix;
};
WordsAndFix without_command(const std::string& words);

/// What to do about this machine's own certificate.
std::string remedy_for_own_certificate(std::string_view reason, const Place& place);
/// What to do about the parent's.
std::string remedy_for_parents_certificate(std::string_view reason, const Place& place);
/// What to do about anything else: an administrator's decision, the network, this machine.
std::string remedy(std::string_view reason, const Place& place);

}  // namespace postern::doctor
