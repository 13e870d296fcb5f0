# Tests of the store, each program with a private PostgreSQL of its own.
function(nexus_store_test name)
  add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/unit/service/${name}.c ${PROJECT_SOURCE_DIR}/tests/unit/service/store_support.c)
  target_link_libraries(${name} PRIVATE nexus_flags store PkgConfig::CMOCKA Threads::Threads)
  add_test(NAME ${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/unit/service/with-postgres $<TARGET_FILE:${name}>)
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endfunction()

foreach(name test_store_admin test_store_agents test_store_audit test_store_db test_store_policy test_store_providers test_store_revoke test_store_sessions)
  nexus_store_test(${name})
endforeach()
