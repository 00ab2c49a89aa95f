#pragma once

#include <map>
#include <string>

#include "identity/certificate.h"

namespace postern::sim {

/// The certificates of the simulated group, as they lie in state folders: the same bytes in every
/// run and on every machine (Ed25519 from fixed seeds), made once a process because they cost more
/// than everything else in a run together. One name, one certificate.
class Certificates {
 public:
  Certificates();
  const std::string& anchors_pem() const { return anchors_pem_; }
  struct Pair {
    std::string key_pem, chain_pem;
  };
  const Pair& of(const std::string& name);

 private:
  std::string anchors_pem_;
  std::map<std::string, Pair> pairs_;
};

}  // namespace postern::sim
