// The configuration files, and the small texts that settings and arguments are made of.

#include "settings/settings.h"

#include "base/address_range.h"
#include "base/quantity.h"
#include "cli/seed_arguments.h"
#include "fuzz/target.h"
#include "identity/certificate.h"

namespace postern::fuzz {
namespace {

template <typename Parsed>
void check_refusal(const Result<Parsed>& parsed) {
  if (parsed) return;
  claim(parsed.error().message.starts_with("f.yaml"), "a mistake names the file");
}

void check_words(const std::string& text) {
  if (auto endpoint = parse_endpoint(text))
    claim(parse_endpoint(to_string(*endpoint)) == *endpoint, "an endpoint comes back as it was");
  if (auto time = parse_duration(text))
    claim(parse_duration(format_duration(*time)) == *time, "a duration comes back as it was");
  (void)parse_bytes(text);
  if (auto name = normal_fqdn(text))
    claim(normal_fqdn(*name) == *name && name->size() <= 253, "a normal name is normal");
  if (auto range = AddressRange::parse(text)) {
    const std::string address = text.substr(0, text.find('/'));
    claim(range->contains(address), "a range has its first address");
  }
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (; !text.empty() && words.size() < 16;) {
    const auto word = text.substr(0, text.find('\n'));
    words.emplace_back(word);
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return words;
}

}  // namespace

void one_input(ByteView bytes) {
  const std::string_view text = as_text(bytes);
  for (const NodeRole role : {NodeRole::agent, NodeRole::gateway}) {
    const auto settings = parse_node_settings(text, "f.yaml", role);
    check_refusal(settings);
    if (settings) {
      claim(!settings->parents.empty() && settings->state_dir.is_absolute(), "what is required");
      for (const ParentSetting& parent : settings->parents)
        claim(parent.name != settings->name, "nobody is their own parent");
    }
  }
  check_refusal(parse_server_settings(text, "f.yaml"));
  const std::vector<std::string> words = words_of(text);
  for (const std::string& word : words) check_words(word);
  if (auto approval = cli::parse_approval_arguments(words); !approval)
    claim(!approval.error().message.empty(), "a mistake has words");
  if (auto import = cli::parse_import_arguments(words); !import)
    claim(!import.error().message.empty(), "a mistake has words");
}

std::vector<Bytes> seeds() {
  return {to_bytes(std::string_view(
              "group: corp\nname: a1.dmz.example\nstate_dir: /var/lib/postern/agent\nparents: "
              "[gw1.dmz.example:5723, {name: gw2.dmz.example, address: '192.0.2.7:1'}]\ninterval: "
              "30s\nspool: {bytes_max: 10GiB}\nlog_level: debug\n")),
          to_bytes(std::string_view(
              "group: corp\nname: ms1.home.example\nlisten: '[::]:5723'\nagents: auto-approve\n"
              "api_from: [192.0.2.0/24]\narchive: {age: 7d, bytes_max: 1GiB}\n")),
          to_bytes(std::string_view("/ManagementServerName=ms1.home.example\n/GatewayName="
                                    "gw1.dmz.example\n/Action=Create\n")),
          to_bytes(std::string_view("/SubjectName\ngw1.dmz.example\n90s\n10GiB\n2001:db8::/32\n"))};
}

}  // namespace postern::fuzz
