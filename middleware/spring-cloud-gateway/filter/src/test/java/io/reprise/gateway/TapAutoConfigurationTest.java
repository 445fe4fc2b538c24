package io.reprise.gateway;

import static org.assertj.core.api.Assertions.assertThat;

import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import org.junit.jupiter.api.Test;
import org.springframework.boot.autoconfigure.AutoConfigurations;
import org.springframework.boot.test.context.FilteredClassLoader;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;

class TapAutoConfigurationTest {
    private final ApplicationContextRunner runner =
            new ApplicationContextRunner().withConfiguration(AutoConfigurations.of(TapAutoConfiguration.class));

    @Test
    void withoutAUrlThereIsNothing() {
        runner.run(c -> assertThat(c).hasNotFailed().doesNotHaveBean(TapFilter.class));
        runner.withPropertyValues("reprise.tap.url=").run(c -> assertThat(c).hasNotFailed().doesNotHaveBean(TapFilter.class));
    }

    @Test
    void withAUrlTheFilterIsNearTheFront() {
        runner.withPropertyValues("reprise.tap.url=http://127.0.0.1:1").run(c ->
                assertThat(c.getBean(TapFilter.class).getOrder()).isEqualTo(Integer.MIN_VALUE + 10));
        runner.withPropertyValues("reprise.tap.url=http://127.0.0.1:1", "reprise.tap.order=7").run(c ->
                assertThat(c.getBean(TapFilter.class).getOrder()).isEqualTo(7));
    }

    @Test
    void aSamplerOfOnesOwnReplacesTheShare() {
        TapSampler mine = x -> false;
        runner.withPropertyValues("reprise.tap.url=http://127.0.0.1:1").withBean(TapSampler.class, () -> mine)
                .run(c -> assertThat(c.getBean(TapSampler.class)).isSameAs(mine));
    }

    @Test
    void countersAreThereWithMicrometerOnly() {
        runner.withPropertyValues("reprise.tap.url=http://127.0.0.1:1").run(c -> {
            SimpleMeterRegistry registry = new SimpleMeterRegistry();
            c.getBean(TapMetrics.class).bindTo(registry);
            c.getBean(Tap.class).full.increment();
            assertThat(registry.get("reprise.filter.exchanges").tags("result", "dropped", "reason", "full").functionCounter().count()).isOne();
            assertThat(registry.get("reprise.filter.queue.bytes").gauge().value()).isZero();
        });
        runner.withPropertyValues("reprise.tap.url=http://127.0.0.1:1").withClassLoader(new FilteredClassLoader("io.micrometer"))
                .run(c -> assertThat(c).hasNotFailed().hasSingleBean(TapFilter.class));
    }

    @Test
    void whatCannotBeIsSaid() {
        for (String bad : new String[] {
            "url=127.0.0.1:8090", "url=ftp://a", "url=http:///x", "sample=200%", "sample-by=mood", "timeout=0s", "connect-timeout=-1s",
            "linger=-1s", "body-max=-1B", "queue-bytes=0B"
        }) {
            runner.withPropertyValues("reprise.tap.url=http://127.0.0.1:1", "reprise.tap." + bad).run(c ->
                    assertThat(c.getStartupFailure()).as(bad).rootCause().hasMessageContaining("reprise.tap." + bad.split("=")[0]));
        }
    }

    @Test
    void theTokenIsNotShown() {
        runner.withPropertyValues("reprise.tap.url=http://127.0.0.1:1", "reprise.tap.token=secret").run(c ->
                assertThat(c.getBean(TapProperties.class).toString()).doesNotContain("secret"));
    }
}
