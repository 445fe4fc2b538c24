package io.reprise.gateway.example;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** A gateway in front of {@code app.url} whose traffic goes to a tap: see application.yaml. The filter comes by itself. */
@SpringBootApplication
public class Example {
    public static void main(String[] args) {
        SpringApplication.run(Example.class, args);
    }
}
