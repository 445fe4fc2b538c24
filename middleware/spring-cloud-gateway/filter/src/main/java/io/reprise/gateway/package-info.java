/**
 * Copies of a Spring Cloud Gateway's requests and responses for a tap of Reprise ({@code tap ingest}), which redacts them and
 * stores them in Kafka.
 *
 * <p>The gateway comes first. Nothing here blocks it, changes what it passes on, or fails it: copies are taken of what streams
 * by, wait in memory that is bounded in bytes, and what does not fit is dropped and counted. While the tap cannot be reached
 * nothing is copied at all.
 */
package io.reprise.gateway;
