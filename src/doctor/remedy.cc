#include "doctor/remedy.h"

#include <fmt/format.h>

namespace postern::doctor {
namespace {

/// What to do; {0} own name, {1} role, {2} configuration, {3} state folder, {4} parent, {5} where
/// it is.
struct Remedy {
  std::string_view reason;
  std::string_view what;
};

constexpr Remedy kRemedies[] = {
    {"not_set_up",
     "set one up: postern-agent setup --token-file FILE, or postern-gateway setup --token-file "
     "FILE"},
    {"bad_configuration", "correct it, then run: postern-{1} check-config --config {2}"},
    {"no_state_folder", "install a certificate into it: postern cert import --subject-name {0}"},
    {"not_running", "run: systemctl start postern-{1}"},
    {"not_ready", "look at: journalctl -u postern-{1}"},
    {"unpinned",
     "put the file of `postern group export` beside the certificate and run: postern cert import "
     "--subject-name {0}"},
    {"not_resolved",
     "correct DNS or /etc/hosts (getent hosts {4}), or write {{name: {4}, address: IP:PORT}} under "
     "parents: in {2}"},
    {"own_name_not_resolved",
     "machines that dial this one by its name need it in DNS or /etc/hosts: getent hosts {0}"},
    {"connection_refused",
     "start the gateway or server there (systemctl status 'postern-*'), or correct the port in "
     "{2}"},
    {"connect_timed_out",
     "let TCP from here to {5} through every firewall in between, then try: nc -vz -w 3 {6} {7}"},
    {"unreachable", "look at the routes of this machine: ip route get {6}"},
    {"connect_failed", "try: nc -vz -w 3 {6} {7}"},
    {"tls_timed_out",
     "look at what runs at {5}: openssl s_client -connect {5} -alpn postern/1 -tls1_3"},
    {"hung_up", "look at what runs at {5}: openssl s_client -connect {5} -alpn postern/1 -tls1_3"},
    {"http_answer",
     "have the proxy pass TCP to {5} through untouched, or correct the address of {4} in {2}; "
     "see: curl -v http://{5}/"},
    {"not_tls", "correct the address or port of {4} in {2}; another program listens at {5}"},
    {"no_protocol",
     "correct the port of {4} in {2}, or exempt {5} from TLS inspection; see: openssl s_client "
     "-connect {5} -alpn postern/1 -tls1_3"},
    {"tls_version",
     "exempt {5} from TLS inspection; see: openssl s_client -connect {5} -alpn postern/1 -tls1_3"},
    {"tls_failed", "see: openssl s_client -connect {5} -alpn postern/1 -tls1_3"},
    {"clock_off", "correct the clock that is wrong: timedatectl set-ntp true"},
    {"pending_approval", "on the management server, run: postern pending approve {0}"},
    {"rejected", "if it was a mistake, on the management server run: postern pending approve {0}"},
    {"removed",
     "if it is to come back, on the management server run: postern {1} approve {0} --parent {4}"},
    {"wrong_role",
     "remove the approval of the other role, then on the management server run: postern {1} "
     "approve {0} --parent {4}"},
    {"wrong_parent",
     "on the management server, run: postern {1} approve {0} --parent {4}; or name the approved "
     "parent in {2}"},
    {"clash",
     "find out which machine is the right one (postern pending list), then on the management "
     "server run: postern pending approve {0}"},
    {"wrong_group",
     "correct group: in {2}; the right name says, on the management server: postern "
     "group show"},
    {"version", "update the older of the two: apt upgrade 'postern-*'"},
    {"bad_proof",
     "if the state folder was copied from another machine, set this one up anew: mv "
     "{3} {3}.copied"},
    {"loop", "correct parents: in {2}, so that no way leads back here"},
    {"not_a_parent", "correct parents: in {2}"},
    {"busy", "look at the log of {4}: journalctl -u 'postern-*'"},
    {"stopping", "wait until it runs again, then: postern doctor"},
    {"protocol", "update the older of the two: apt upgrade 'postern-*'"},
    {"disk_full", "make room: du -xh {3} | sort -h | tail"},
    {"disk_smaller_than_limit", "make room, or lower spool.bytes_max in {2}: df -h {3}"},
    {"spool_full",
     "see what waits: postern spool ls --state {3}; raise spool.bytes_max in {2}, or mend the way "
     "to the parent"},
};

constexpr std::string_view kNewCertificate =
    "have a new one issued and installed: postern cert request --name {0}, then postern cert "
    "import --subject-name {0}";
constexpr std::string_view kGroupFile =
    "have the certificate issued by the group's CA, or take over the group's newest file (postern "
    "group export) with: postern cert import --subject-name {0}";

std::string filled(std::string_view what, const Place& place) {
  const std::string name = place.name.empty() ? "FQDN" : place.name;
  const std::string role = place.role.empty() ? "agent" : place.role;
  const std::string config =
      place.config.empty() ? fmt::format("/etc/postern/{}.yaml", role) : place.config;
  const std::size_t colon = place.where.rfind(':');
  std::string address = place.where.substr(0, colon);
  const std::string port = colon == std::string::npos ? "" : place.where.substr(colon + 1);
  if (address.starts_with('[')) address = address.substr(1, address.size() - 2);
  return fmt::format(fmt::runtime(what), name, role, config, place.state, place.parent, place.where,
                     address, port);
}

}  // namespace

WordsAndFix without_command(const std::string& words) {
  const std::size_t at = words.find("; run: ");
  if (at == std::string::npos) return {words, ""};
  return {words.substr(0, at), words.substr(at + 2)};
}

std::string remedy_for_own_certificate(std::string_view reason, const Place& place) {
  if (reason == "not_yet_valid" || reason == "issuer_not_yet_valid")
    return filled("compare the clocks of both machines (timedatectl), or wait", place);
  if (reason == "issuer_expired")
    return filled("have the CA renew its certificate; then " + std::string(kGroupFile), place);
  if (reason == "unknown_ca" || reason == "bad_chain") return filled(kGroupFile, place);
  if (reason == "wrong_name")
    return filled("correct name: in {2}, or " + std::string(kNewCertificate), place);
  return filled(kNewCertificate, place);
}

std::string remedy_for_parents_certificate(std::string_view reason, const Place& place) {
  if (reason == "wrong_name")
    return filled(
        "name it as its certificate does in {2}, or on {4} run: postern cert request "
        "--name {4}, then postern cert import --subject-name {4}",
        place);
  if (reason == "unknown_ca")
    return filled(
        "exempt {5} from TLS inspection if a proxy shows it; else take over the group's "
        "newest file here: postern cert import --subject-name {0}",
        place);
  if (reason == "not_yet_valid" || reason == "issuer_not_yet_valid")
    return filled("compare the clocks of both machines (timedatectl), or wait", place);
  return filled(
      "on {4}, run: postern cert request --name {4}, then postern cert import "
      "--subject-name {4}",
      place);
}

std::string remedy(std::string_view reason, const Place& place) {
  for (const Remedy& one : kRemedies)
    if (one.reason == reason) return filled(one.what, place);
  return {};
}

}  // namespace postern::doctor
